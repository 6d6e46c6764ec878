// A task around one future of the test's, to see when it is polled, done and dropped.
//
// The test starts actors, does something to what they wait for, and turns the runtime; the log
// tells who finished, in which order, with what.
#ifndef WEIR_TESTS_SUPPORT_ACTOR_H
#define WEIR_TESTS_SUPPORT_ACTOR_H

#include "tests/support_runtime.h"

#define ACTORS_MAX 64

struct actor_log {
    int count;
    int ids[ACTORS_MAX];
    int32_t results[ACTORS_MAX];
};

// Spawns a task that awaits *child, logs `id` and the result, and ends; and polls it once.
// `child` stays the test's and must live until the actor has ended. For a runtime without threads.
struct weir_handle actor_start(struct weir_runtime *runtime, struct weir_future *child,
                               struct actor_log *log, int id);

// Cancels the task and, unless `turn` is false, lets it notice. Uses up the handle.
void actor_cancel(struct weir_runtime *runtime, struct weir_handle handle, bool turn);

// Asserts the ids logged since the last call, ended by -1, and empties the log.
void actor_expect(struct actor_log *log, ...);

// Spawns with WEIR_SPAWN_STEALABLE and asserts success; nobody waits for the task.
#define actor_spawn(runtime, task)                                                                 \
    assert_int_equal(                                                                              \
        weir_runtime_spawn(runtime, &(task)->future, sizeof(*(task)), WEIR_SPAWN_STEALABLE, NULL), \
        0)

// Spawned tasks that have not ended. Exact only while nobody spawns.
uint64_t actor_tasks_live(struct weir_runtime *runtime);

// Until every task has ended; fails the test after two minutes.
void actor_wait_all(struct weir_runtime *runtime);

#endif
