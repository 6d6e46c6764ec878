// Litmus tests: the memory model against the outcomes that C11 forbids, and those it allows.
//
// Names and shapes are those of the literature: Alglave, Maranget, Tautschnig, "Herding Cats"
// (TOPLAS 2014) and the herd tools. A forbidden outcome fails; an allowed one is a probe, to be met
// within PROBE_SEEDS seeds. The rules meant are C++20's (see memory.c): a release sequence goes on
// through read-modify-writes only, and seq_cst fences are as strong as P0668 made them.
#include <stdatomic.h>

#include "sim/scenario_support.h"
#include "sim/scenarios.h"

#define PROBE_SEEDS 3000
#define THREADS_MAX 4

struct shared {
    _Atomic uint32_t x, y, z;
    uint32_t plain;
    uint32_t r[6]; // what loads returned: each is one thread's
};

struct litmus {
    void (*threads[THREADS_MAX])(void *);
    bool (*outcome)(const struct shared *);
};

// TEST(name, outcome, thread, thread, ...): a thread is a list of statements in braces.
#define STORE(location, value, order)                                                              \
    atomic_store_explicit(&it->location, value, memory_order_##order)
#define LOAD(location, order) atomic_load_explicit(&it->location, memory_order_##order)
#define ADD(location, value, order)                                                                \
    atomic_fetch_add_explicit(&it->location, value, memory_order_##order)
#define SWAP(location, value, order)                                                               \
    atomic_exchange_explicit(&it->location, value, memory_order_##order)
#define CAS(location, expected, desired, success, failure)                                         \
    atomic_compare_exchange_strong_explicit(&it->location, expected, desired,                      \
                                            memory_order_##success, memory_order_##failure)
#define FENCE(order) atomic_thread_fence(memory_order_##order)

#define THREAD(name, body)                                                                         \
    static void name(void *argument)                                                               \
    {                                                                                              \
        struct shared *it = argument;                                                              \
        body                                                                                       \
    }
#define TEST_OF(name, condition, ...)                                                              \
    static bool name##_outcome(const struct shared *it)                                            \
    {                                                                                              \
        const uint32_t *r = it->r;                                                                 \
        (void)r;                                                                                   \
        return condition;                                                                          \
    }                                                                                              \
    static const struct litmus name = {{__VA_ARGS__}, name##_outcome};
#define TEST2(name, condition, first, second)                                                      \
    THREAD(name##_0, first)                                                                        \
    THREAD(name##_1, second)                                                                       \
    TEST_OF(name, condition, name##_0, name##_1)
#define TEST3(name, condition, first, second, third)                                               \
    THREAD(name##_0, first)                                                                        \
    THREAD(name##_1, second)                                                                       \
    THREAD(name##_2, third)                                                                        \
    TEST_OF(name, condition, name##_0, name##_1, name##_2)
#define TEST4(name, condition, first, second, third, fourth)                                       \
    THREAD(name##_0, first)                                                                        \
    THREAD(name##_1, second)                                                                       \
    THREAD(name##_2, third)                                                                        \
    THREAD(name##_3, fourth)                                                                       \
    TEST_OF(name, condition, name##_0, name##_1, name##_2, name##_3)

// A thread per line, which the formatter would spread over ten.
// clang-format off

// ---- Store buffering: may both loads miss the other's store? ----

#define SB(name, store, fence, load)                                                               \
    TEST2(name, r[0] == 0 && r[1] == 0,                                                            \
          { STORE(x, 1, store); fence; it->r[0] = LOAD(y, load); },                                \
          { STORE(y, 1, store); fence; it->r[1] = LOAD(x, load); })
SB(sb_relaxed, relaxed, , relaxed)
SB(sb_release_acquire, release, , acquire)
SB(sb_fences_acq_rel, relaxed, FENCE(acq_rel), relaxed)
SB(sb_seq_cst, seq_cst, , seq_cst)
SB(sb_fences_seq_cst, relaxed, FENCE(seq_cst), relaxed)
SB(sb_seq_cst_store, seq_cst, , acquire) // both sides must be seq_cst
TEST2(sb_fence_and_seq_cst, r[0] == 0 && r[1] == 0,
      { STORE(x, 1, relaxed); FENCE(seq_cst); it->r[0] = LOAD(y, relaxed); },
      { STORE(y, 1, seq_cst); it->r[1] = LOAD(x, seq_cst); })
// A seq_cst read-modify-write is no fence: the load after it may be early.
TEST2(sb_rmw_relaxed_load, r[0] == 0 && r[1] == 0,
      { ADD(x, 1, seq_cst); it->r[0] = LOAD(y, relaxed); },
      { ADD(y, 1, seq_cst); it->r[1] = LOAD(x, relaxed); })
TEST2(sb_rmw_seq_cst, r[0] == 0 && r[1] == 0,
      { ADD(x, 1, seq_cst); it->r[0] = LOAD(y, seq_cst); },
      { SWAP(y, 1, seq_cst); it->r[1] = LOAD(x, seq_cst); })
// As sb_fences_seq_cst, with the second load behind a hand-over to a third thread.
TEST3(sb_fences_handed_over, r[0] == 0 && r[1] == 1 && r[2] == 0,
      { STORE(x, 1, relaxed); FENCE(seq_cst); it->r[0] = LOAD(y, relaxed); },
      { STORE(y, 1, relaxed); FENCE(seq_cst); STORE(z, 1, release); },
      { it->r[1] = LOAD(z, acquire); it->r[2] = LOAD(x, relaxed); })

// ---- Message passing: may the flag be seen and the message not? ----

#define MP(name, before, store, load, after)                                                       \
    TEST2(name, r[0] == 1 && r[1] == 0,                                                            \
          { STORE(x, 1, relaxed); before; STORE(y, 1, store); },                                   \
          { it->r[0] = LOAD(y, load); after; it->r[1] = LOAD(x, relaxed); })
MP(mp_relaxed, , relaxed, relaxed, )
MP(mp_release_relaxed, , release, relaxed, )
MP(mp_relaxed_acquire, , relaxed, acquire, )
MP(mp_release_acquire, , release, acquire, )
MP(mp_fences, FENCE(release), relaxed, relaxed, FENCE(acquire))
MP(mp_fence_acquire, FENCE(release), relaxed, acquire, )
MP(mp_release_fence, , release, relaxed, FENCE(acquire))
MP(mp_fence_relaxed, FENCE(seq_cst), relaxed, relaxed, )
MP(mp_fences_seq_cst, FENCE(seq_cst), relaxed, relaxed, FENCE(seq_cst))
MP(mp_fences_wrong, FENCE(acquire), relaxed, relaxed, FENCE(release))
TEST2(mp_plain, r[0] == 1 && r[1] != 7,
      { it->plain = 7; STORE(y, 1, release); },
      { it->r[0] = LOAD(y, acquire); if (it->r[0] == 1) { it->r[1] = it->plain; } })
// The message goes on through another thread.
#define ISA2(name, store, load)                                                                    \
    TEST3(name, r[0] == 1 && r[1] == 1 && r[2] == 0,                                               \
          { STORE(x, 1, relaxed); STORE(y, 1, store); },                                           \
          { it->r[0] = LOAD(y, load); STORE(z, 1, store); },                                       \
          { it->r[1] = LOAD(z, load); it->r[2] = LOAD(x, relaxed); })
ISA2(isa2_relaxed, relaxed, relaxed)
ISA2(isa2_release_acquire, release, acquire)
#define WRC(name, store, load)                                                                     \
    TEST3(name, r[0] == 1 && r[1] == 1 && r[2] == 0,                                               \
          { STORE(x, 1, store); }, { it->r[0] = LOAD(x, load); STORE(y, 1, store); },              \
          { it->r[1] = LOAD(y, load); it->r[2] = LOAD(x, relaxed); })
WRC(wrc_relaxed, relaxed, relaxed)
WRC(wrc_release_acquire, release, acquire)

// ---- Coherence: one location, all relaxed ----

TEST2(coherence_read_read, r[0] == 2 && r[1] == 1,
      { STORE(x, 1, relaxed); STORE(x, 2, relaxed); },
      { it->r[0] = LOAD(x, relaxed); it->r[1] = LOAD(x, relaxed); })
TEST4(coherence_two_readers, r[0] == 1 && r[1] == 2 && r[2] == 2 && r[3] == 1,
      { STORE(x, 1, relaxed); }, { STORE(x, 2, relaxed); },
      { it->r[0] = LOAD(x, relaxed); it->r[1] = LOAD(x, relaxed); },
      { it->r[2] = LOAD(x, relaxed); it->r[3] = LOAD(x, relaxed); })
TEST2(coherence_write_read, r[0] == 0,
      { STORE(x, 1, relaxed); it->r[0] = LOAD(x, relaxed); }, { STORE(x, 2, relaxed); })
TEST2(coherence_write_write, LOAD(x, relaxed) == 1,
      { STORE(x, 1, relaxed); STORE(x, 2, relaxed); }, { it->r[0] = LOAD(x, relaxed); })
TEST2(coherence_read_write, r[0] == 1 || (r[0] == 2 && LOAD(x, relaxed) == 2),
      { it->r[0] = LOAD(x, relaxed); STORE(x, 1, relaxed); }, { STORE(x, 2, relaxed); })
// What was loaded before a hand-over may not be unseen after it.
TEST3(coherence_handed_over, r[0] == 1 && r[1] == 1 && r[2] == 0,
      { STORE(x, 1, relaxed); }, { it->r[0] = LOAD(x, relaxed); STORE(y, 1, release); },
      { it->r[1] = LOAD(y, acquire); it->r[2] = LOAD(x, relaxed); })

// ---- Independent reads of independent writes: do all agree on an order? ----

#define IRIW(name, store, load, fence)                                                             \
    TEST4(name, r[0] == 1 && r[1] == 0 && r[2] == 1 && r[3] == 0,                                  \
          { STORE(x, 1, store); }, { STORE(y, 1, store); },                                        \
          { it->r[0] = LOAD(x, load); fence; it->r[1] = LOAD(y, load); },                          \
          { it->r[2] = LOAD(y, load); fence; it->r[3] = LOAD(x, load); })
IRIW(iriw_relaxed, relaxed, relaxed, )
IRIW(iriw_release_acquire, release, acquire, )
IRIW(iriw_seq_cst, seq_cst, seq_cst, )
IRIW(iriw_fences_seq_cst, relaxed, relaxed, FENCE(seq_cst))
#define RWC(name, store, load, fence)                                                              \
    TEST3(name, r[0] == 1 && r[1] == 0 && r[2] == 0,                                               \
          { STORE(x, 1, store); },                                                                 \
          { it->r[0] = LOAD(x, load); fence; it->r[1] = LOAD(y, load); },                          \
          { STORE(y, 1, store); fence; it->r[2] = LOAD(x, load); })
RWC(rwc_release_acquire, release, acquire, )
RWC(rwc_seq_cst, seq_cst, seq_cst, )
RWC(rwc_fences_seq_cst, relaxed, relaxed, FENCE(seq_cst))
#define R(name, store, load, fence)                                                                \
    TEST2(name, r[0] == 0 && LOAD(y, relaxed) == 2,                                                \
          { STORE(x, 1, store); fence; STORE(y, 1, store); },                                      \
          { STORE(y, 2, store); fence; it->r[0] = LOAD(x, load); })
R(r_release_acquire, release, acquire, )
R(r_seq_cst, seq_cst, seq_cst, )
R(r_fences_seq_cst, relaxed, relaxed, FENCE(seq_cst))
TEST2(s_release_acquire, r[0] == 1 && LOAD(x, relaxed) == 2,
      { STORE(x, 2, relaxed); STORE(y, 1, release); },
      { it->r[0] = LOAD(y, acquire); STORE(x, 1, relaxed); })

// ---- Release sequences ----

TEST3(sequence_rmw, r[0] == 2 && r[1] == 0,
      { STORE(y, 1, relaxed); STORE(x, 1, release); }, { ADD(x, 1, relaxed); },
      { it->r[0] = LOAD(x, acquire); it->r[1] = LOAD(y, relaxed); })
// A store ends it, even the same thread's.
TEST2(sequence_store, r[0] == 2 && r[1] == 0,
      { STORE(y, 1, relaxed); STORE(x, 1, release); STORE(x, 2, relaxed); },
      { it->r[0] = LOAD(x, acquire); it->r[1] = LOAD(y, relaxed); })
TEST3(sequence_other_store, r[0] == 2 && r[1] == 1 && r[2] == 0,
      { STORE(y, 1, relaxed); STORE(x, 1, release); },
      { it->r[1] = LOAD(x, relaxed); STORE(x, 2, relaxed); },
      { it->r[0] = LOAD(x, acquire); it->r[2] = LOAD(y, relaxed); })

// ---- Read-modify-writes ----

TEST2(rmw_counter, LOAD(x, relaxed) != 4 || r[0] == r[1],
      { it->r[0] = ADD(x, 1, relaxed); ADD(x, 1, relaxed); },
      { it->r[1] = ADD(x, 1, relaxed); ADD(x, 1, relaxed); })
// A compare-exchange on a flag: what its failure, or its success, makes visible.
#define CAS_SEES(name, expect, success, failure)                                                   \
    TEST2(name, r[0] == 1 && r[1] == 0,                                                            \
          { STORE(y, 1, relaxed); STORE(x, 1, release); },                                         \
          { uint32_t seen = expect; CAS(x, &seen, 5, success, failure);                            \
            it->r[0] = seen; it->r[1] = LOAD(y, relaxed); })
CAS_SEES(cas_failure_relaxed, 0, acq_rel, relaxed)
CAS_SEES(cas_failure_acquire, 9, acq_rel, acquire)
CAS_SEES(cas_success_relaxed, 1, relaxed, relaxed)
CAS_SEES(cas_success_acquire, 1, acquire, relaxed)

// ---- Outcomes that C11 allows and the model does not make (memory.c) ----

TEST2(lb_relaxed, r[0] == 1 && r[1] == 1,
      { it->r[0] = LOAD(x, relaxed); STORE(y, 1, relaxed); },
      { it->r[1] = LOAD(y, relaxed); STORE(x, 1, relaxed); })
TEST2(two_plus_two_w, LOAD(x, relaxed) == 1 && LOAD(y, relaxed) == 1,
      { STORE(x, 1, relaxed); STORE(y, 2, relaxed); },
      { STORE(y, 1, relaxed); STORE(x, 2, relaxed); })

// clang-format on

// ---- Running them ----

static bool litmus_run(struct weir_sim *sim, const struct litmus *litmus)
{
    struct shared it = {0};
    uint32_t actors[THREADS_MAX];
    for (uint32_t i = 0; i < THREADS_MAX && litmus->threads[i] != NULL; i++) {
        actors[i] = weir_sim_start(sim, litmus->threads[i], &it);
    }
    for (uint32_t i = 0; i < THREADS_MAX && litmus->threads[i] != NULL; i++) {
        weir_sim_join(sim, actors[i]);
    }
    return litmus->outcome(&it);
}

// X(test, scenario's and probe's name, about)
#define ALLOWED(X)                                                                                 \
    X(sb_relaxed, "sb-relaxed", "store buffering")                                                 \
    X(sb_release_acquire, "sb-release-acquire", "store buffering")                                 \
    X(sb_fences_acq_rel, "sb-fences-acq-rel", "store buffering")                                   \
    X(sb_seq_cst_store, "sb-seq-cst-store", "store buffering, only the stores seq_cst")            \
    X(sb_rmw_relaxed_load, "sb-rmw-relaxed-load", "store buffering behind seq_cst additions")      \
    X(mp_relaxed, "mp-relaxed", "message passing")                                                 \
    X(mp_release_relaxed, "mp-release-relaxed", "message passing")                                 \
    X(mp_relaxed_acquire, "mp-relaxed-acquire", "message passing")                                 \
    X(mp_fence_relaxed, "mp-fence-relaxed", "message passing, a fence on one side only")           \
    X(mp_fences_wrong, "mp-fences-wrong", "message passing, the two fences exchanged")             \
    X(isa2_relaxed, "isa2-relaxed", "message passing by way of a third thread")                    \
    X(wrc_relaxed, "wrc-relaxed", "a write passed on by who read it")                              \
    X(iriw_relaxed, "iriw-relaxed", "two readers see two writes in opposite orders")               \
    X(iriw_release_acquire, "iriw-release-acquire", "two readers see opposite orders")             \
    X(rwc_release_acquire, "rwc-release-acquire", "read to write causality")                       \
    X(r_release_acquire, "r-release-acquire", "a write that comes second and a read that misses")  \
    X(sequence_store, "sequence-store", "a release sequence ended by a store")                     \
    X(sequence_other_store, "sequence-other-store", "the same, another thread's")                  \
    X(cas_failure_relaxed, "cas-failure-relaxed", "a compare-exchange fails, relaxed")             \
    X(cas_success_relaxed, "cas-success-relaxed", "a compare-exchange succeeds, relaxed")
#define FORBIDDEN(X)                                                                               \
    X(sb_seq_cst, "sb-seq-cst", "store buffering")                                                 \
    X(sb_fences_seq_cst, "sb-fences-seq-cst", "store buffering")                                   \
    X(sb_fence_and_seq_cst, "sb-fence-and-seq-cst", "store buffering, a fence against accesses")   \
    X(sb_rmw_seq_cst, "sb-rmw-seq-cst", "store buffering behind seq_cst additions")                \
    X(sb_fences_handed_over, "sb-fences-handed-over", "store buffering by way of a third thread")  \
    X(mp_release_acquire, "mp-release-acquire", "message passing")                                 \
    X(mp_fences, "mp-fences", "message passing")                                                   \
    X(mp_fence_acquire, "mp-fence-acquire", "message passing")                                     \
    X(mp_release_fence, "mp-release-fence", "message passing")                                     \
    X(mp_fences_seq_cst, "mp-fences-seq-cst", "message passing")                                   \
    X(mp_plain, "mp-plain", "message passing of a plain object")                                   \
    X(isa2_release_acquire, "isa2-release-acquire", "message passing by way of a third thread")    \
    X(wrc_release_acquire, "wrc-release-acquire", "a write passed on by who read it")              \
    X(coherence_read_read, "coherence-read-read", "a newer value, then an older one")              \
    X(coherence_two_readers, "coherence-two-readers", "two orders of one location's stores")       \
    X(coherence_write_read, "coherence-write-read", "a value older than one's own store")          \
    X(coherence_write_write, "coherence-write-write", "one's own stores exchanged")                \
    X(coherence_read_write, "coherence-read-write", "a value newer than one's own later store")    \
    X(coherence_handed_over, "coherence-handed-over", "a value older than one passed on")          \
    X(iriw_seq_cst, "iriw-seq-cst", "two readers see two writes in opposite orders")               \
    X(iriw_fences_seq_cst, "iriw-fences-seq-cst", "two readers see opposite orders")               \
    X(rwc_seq_cst, "rwc-seq-cst", "read to write causality")                                       \
    X(rwc_fences_seq_cst, "rwc-fences-seq-cst", "read to write causality")                         \
    X(r_seq_cst, "r-seq-cst", "a write that comes second and a read that misses")                  \
    X(r_fences_seq_cst, "r-fences-seq-cst", "a write that comes second and a read that misses")    \
    X(s_release_acquire, "s-release-acquire", "a write that comes before what it follows")         \
    X(sequence_rmw, "sequence-rmw", "a release sequence goes on through an addition")              \
    X(rmw_counter, "rmw-counter", "additions are lost")                                            \
    X(cas_failure_acquire, "cas-failure-acquire", "a compare-exchange fails, acquire")             \
    X(cas_success_acquire, "cas-success-acquire", "a compare-exchange succeeds, acquire")          \
    X(lb_relaxed, "lb-relaxed", "load buffering: allowed by C11, not modelled")                    \
    X(two_plus_two_w, "2+2w-relaxed", "two pairs of writes: allowed by C11, not modelled")

#define RUN_ALLOWED(test, label, about)                                                            \
    static void test##_run(struct weir_sim *sim)                                                   \
    {                                                                                              \
        if (litmus_run(sim, &test)) {                                                              \
            weir_sim_sometimes(sim, label);                                                        \
        }                                                                                          \
    }
ALLOWED(RUN_ALLOWED)
#define RUN_FORBIDDEN(test, label, about)                                                          \
    static void test##_run(struct weir_sim *sim)                                                   \
    {                                                                                              \
        weir_sim_check(sim, !litmus_run(sim, &test), "forbidden-outcome");                         \
    }
FORBIDDEN(RUN_FORBIDDEN)

#define ENTRY_ALLOWED(test, label, text)                                                           \
    {.name = "litmus-" label,                                                                      \
     .about = text ": may be seen",                                                                \
     .run = test##_run,                                                                            \
     .kinds = SCENARIO_MEMORY_KINDS,                                                               \
     .probes = (const char *const[]){label, NULL},                                                 \
     .probe_seeds = PROBE_SEEDS,                                                                   \
     .fine_only = true},
#define ENTRY_FORBIDDEN(test, label, text)                                                         \
    {.name = "litmus-" label,                                                                      \
     .about = text ": never",                                                                      \
     .run = test##_run,                                                                            \
     .kinds = SCENARIO_MEMORY_KINDS,                                                               \
     .fine_only = true},

const struct weir_sim_scenario sim_scenarios_litmus[] = {
    ALLOWED(ENTRY_ALLOWED) FORBIDDEN(ENTRY_FORBIDDEN){0},
};
