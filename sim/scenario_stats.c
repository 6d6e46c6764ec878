// Scenarios of snapshots: they balance and never fall back, whatever goes on beside them.
//
// stats-books is the task's books alone (writer/books.h), stats-shed what logging threads throw
// away. In stats-pool a whole pool is at work: a collector reads, at times slowly or not to the
// end, threads log, take back and throw away, and one or two take snapshots all the while. What is
// shown after everything is over is exact; stats-close looks right after a close that answered 0,
// while threads may still be logging and throwing away.
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "sim/scenario_support.h"
#include "sim/scenarios.h"
#include "writer/append.h"

#define FAR_MS 3600000u
#define MESSAGE_BYTES_MAX 300
#define PRODUCERS_MAX 3
#define WATCHERS_MAX 2

// ---- Two snapshots of one thread ----

static bool is_gauge(size_t offset)
{
    return offset == offsetof(struct weir_metrics, held_messages) ||
           offset == offsetof(struct weir_metrics, held_bytes) ||
           offset == offsetof(struct weir_metrics, writers_connected);
}

static void snapshot_check(struct weir_sim *sim, const struct weir_metrics *before,
                           const struct weir_metrics *now)
{
    weir_sim_check(sim, weir_metrics_balanced(now), "snapshot-unbalanced");
    weir_sim_check(sim, now->held_messages <= now->accepted_messages, "snapshot-held-wrapped");
    weir_sim_check(sim, now->held_bytes <= now->accepted_bytes, "snapshot-held-wrapped");
    for (size_t offset = 0; offset < sizeof *now; offset += sizeof(uint64_t)) {
        uint64_t old, new;
        memcpy(&old, (const char *)before + offset, sizeof old);
        memcpy(&new, (const char *)now + offset, sizeof new);
        weir_sim_check(sim, new >= old || is_gauge(offset), "snapshot-fell-back");
    }
}

// ---- The task's books ----

struct showing {
    struct weir_sim *sim;
    struct weir_books_shown shown;
    uint32_t showings, readings;
};

static void showing_main(void *argument)
{
    struct showing *me = argument;
    uint64_t words[WEIR_BOOKS_WORDS];
    struct weir_books books;
    for (uint32_t i = 1; i <= me->showings; i++) {
        for (size_t j = 0; j < WEIR_BOOKS_WORDS; j++) {
            words[j] = i;
        }
        memcpy(&books, words, sizeof words);
        weir_books_show(&me->shown, &books);
    }
}

static void reading_main(void *argument)
{
    struct showing *me = argument;
    uint64_t words[WEIR_BOOKS_WORDS], last = 0;
    struct weir_books books;
    for (uint32_t i = 0; i < me->readings; i++) {
        weir_books_read(&me->shown, &books);
        memcpy(words, &books, sizeof words);
        for (size_t j = 1; j < WEIR_BOOKS_WORDS; j++) {
            weir_sim_check(me->sim, words[j] == words[0], "books-torn");
        }
        weir_sim_check(me->sim, words[0] >= last, "books-fell-back");
        last = words[0];
    }
}

static void stats_books(struct weir_sim *sim)
{
    struct showing showing = {.sim = sim};
    uint32_t actors[1 + WATCHERS_MAX];
    uint32_t readers = weir_sim_draw(sim, "readers", 1, WATCHERS_MAX);
    showing.showings = weir_sim_draw(sim, "showings", 1, 6);
    showing.readings = weir_sim_draw(sim, "readings", 1, 3);
    actors[0] = weir_sim_start(sim, showing_main, &showing);
    for (uint32_t i = 1; i <= readers; i++) {
        actors[i] = weir_sim_start(sim, reading_main, &showing);
    }
    for (uint32_t i = 0; i <= readers; i++) {
        weir_sim_join(sim, actors[i]);
    }
    struct weir_books books;
    weir_books_read(&showing.shown, &books);
    weir_sim_check(sim, books.taken_messages == showing.showings, "books-not-the-newest");
}

// ---- What is thrown away ----

// One message a segment, and one segment: a message is thrown away soon after it was logged, and a
// reader that saw that, but not the logging, would count less than nothing.
struct shedding {
    struct weir_sim *sim;
    struct weir_writer *writer;
    uint32_t messages, readings;
};

static void shedding_main(void *argument)
{
    struct shedding *me = argument;
    for (uint32_t i = 0; i < me->messages; i++) {
        struct weir_reservation reservation;
        int error = weir_append_reserve(me->writer, 2, &reservation);
        weir_sim_check(me->sim, error == 0, "refused-for-no-reason");
        memcpy(reservation.data, "m\n", 2);
        weir_append_commit(me->writer, &reservation, 2);
    }
}

static void shedding_read(void *argument)
{
    struct shedding *me = argument;
    for (uint32_t i = 0; i < me->readings; i++) {
        struct weir_metrics metrics = {0};
        struct weir_row_counts counts;
        weir_counters_sum(&me->writer->counters, &metrics);
        weir_row_count(me->writer->row, &counts);
        weir_sim_check(me->sim, metrics.held_messages + counts.messages <= counts.messages,
                       "snapshot-held-wrapped");
        weir_sim_check(me->sim, metrics.held_bytes + counts.bytes <= counts.bytes,
                       "snapshot-held-wrapped");
    }
}

static void stats_shed(struct weir_sim *sim)
{
    const struct weir_os *os = weir_sim_os(sim);
    struct shedding shedding = {.sim = sim};
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    char why[256];
    _Atomic uint32_t progress = 0, waiters = 0;
    struct weir_runtime *runtime = scenario_runtime(sim, 0);
    weir_pool_options_init(&options);
    options.endpoint = "unix:@shed";
    options.buffer_bytes_max = 4096;
    options.flush_limit_bytes = 1;
    options.message_bytes_max = 16;
    options.full = WEIR_FULL_DROP_OLDEST;
    weir_sim_check(sim, weir_pool_options_check(&options, &plan, why, sizeof why) == 0, why);
    plan.row.segment_count = 1;
    size_t region_bytes = weir_row_region_bytes(&plan.row);
    struct weir_transit_segment ring[1];
    void *region = os->alloc(os->self, region_bytes, WEIR_ROW_LINE_BYTES);
    shedding.writer = os->alloc(os->self, sizeof *shedding.writer, 128);
    weir_sim_check(sim, region != NULL && shedding.writer != NULL, "memory");
    weir_writer_init(shedding.writer, 0, runtime, &plan, weir_row_init(region, &plan.row), ring,
                     &progress, &waiters);
    shedding.messages = weir_sim_draw(sim, "messages", 3, 8);
    shedding.readings = weir_sim_draw(sim, "readings", 1, 3);
    uint32_t logs = weir_sim_start(sim, shedding_main, &shedding);
    uint32_t reads = weir_sim_start(sim, shedding_read, &shedding);
    weir_sim_join(sim, logs);
    weir_sim_join(sim, reads);
    os->release(os->self, shedding.writer, sizeof *shedding.writer);
    os->release(os->self, region, region_bytes);
    weir_runtime_destroy(runtime);
}

// ---- A collector ----

struct collector {
    struct weir_sim *sim;
    const struct weir_os *os;
    uint64_t pause_ns;  // between two reads of `bytes_max`
    uint32_t bytes_max; // of one read
    uint32_t reads_max; // of the first connection, which is then closed; 0: to its end
    _Atomic uint32_t listening;
};

static void collector_read(struct collector *me, int fd, uint32_t reads_max)
{
    char bytes[512];
    for (uint32_t reads = 0; reads_max == 0 || reads < reads_max;) {
        int64_t count = me->os->socket_recv(me->os->self, fd, bytes, me->bytes_max);
        if (count == -EAGAIN) {
            (void)weir_sim_wait(me->sim, fd, WEIR_READABLE, WEIR_NEVER);
            continue;
        }
        if (count <= 0) {
            break;
        }
        reads++;
        weir_sim_sleep(me->sim, me->pause_ns);
    }
    (void)me->os->socket_close(me->os->self, fd);
}

static void collector_main(void *argument)
{
    struct collector *me = argument;
    const struct weir_os *os = me->os;
    struct weir_address address;
    int listener = os->socket_open(os->self, AF_UNIX, SOCK_STREAM);
    weir_sim_check(me->sim,
                   weir_address_unix(&address, "@stats") == 0 &&
                       os->socket_bind(os->self, listener, &address) == 0 &&
                       os->socket_listen(os->self, listener, 8) == 0,
                   "collector-listens");
    atomic_store_explicit(&me->listening, 1, memory_order_release);
    for (uint32_t reads_max = me->reads_max;;) {
        int fd = os->socket_accept(os->self, listener);
        if (fd == -EAGAIN) {
            (void)weir_sim_wait(me->sim, listener, WEIR_READABLE, WEIR_NEVER);
        } else if (fd >= 0) {
            collector_read(me, fd, reads_max);
            reads_max = 0;
        }
    }
}

// ---- A pool, and those who use and watch it ----

struct crowd {
    struct weir_sim *sim;
    struct weir_pool *pool;
    uint32_t messages; // of each producer
    uint32_t snapshots;
    uint32_t lines;
    bool closed_beside;
    _Atomic uint32_t accepted, offered;
};

// What the pool's log callback is told: at most a line a second, and two more at the end.
static void crowd_told(void *context, const char *line)
{
    struct crowd *crowd = context;
    uint64_t seconds = weir_sim_now_ns(crowd->sim) / UINT64_C(1000000000);
    crowd->lines++;
    weir_sim_check(crowd->sim, crowd->lines <= seconds + 3, "too-many-lines");
    weir_sim_note(crowd->sim, "told: %s", line);
    weir_sim_sometimes(crowd->sim, "told");
}

// Formats every third in place; of these it uses a part, and takes the others back.
static int crowd_log(struct crowd *crowd, uint32_t number)
{
    char message[MESSAGE_BYTES_MAX];
    struct weir_slot slot;
    size_t length = 1 + number * 37 % 90;
    memset(message, 'm', sizeof message);
    if (number % 3 != 0) {
        return weir_log(crowd->pool, message, length);
    }
    int error = weir_reserve(crowd->pool, NULL, 2 * length, &slot);
    if (error == 0 && number % 2 == 0) {
        weir_abandon(crowd->pool, &slot);
    } else if (error == 0) {
        memcpy(slot.bytes, message, length);
        error = weir_commit(crowd->pool, &slot, length);
    }
    return error;
}

static void producer_main(void *argument)
{
    struct crowd *crowd = argument;
    for (uint32_t i = 0; i < crowd->messages; i++) {
        int error = crowd_log(crowd, i);
        weir_sim_check(crowd->sim,
                       error == 0 || error == WEIR_EFULL ||
                           (error == WEIR_ECLOSED && crowd->closed_beside),
                       "refused-for-no-reason");
        (void)atomic_fetch_add_explicit(&crowd->offered, 1, memory_order_relaxed);
        (void)atomic_fetch_add_explicit(&crowd->accepted, error == 0, memory_order_relaxed);
    }
}

static void watcher_main(void *argument)
{
    struct crowd *crowd = argument;
    struct weir_metrics metrics = {0};
    for (uint32_t i = 0; i < crowd->snapshots; i++) {
        struct weir_metrics before = metrics;
        weir_pool_stats(crowd->pool, &metrics);
        snapshot_check(crowd->sim, &before, &metrics);
        if (metrics.dropped_messages[WEIR_DROPPED_OLDEST] >
            before.dropped_messages[WEIR_DROPPED_OLDEST]) {
            weir_sim_sometimes(crowd->sim, "seen-throwing-away");
        }
        if (metrics.confirmed_messages > before.confirmed_messages && metrics.held_messages > 0) {
            weir_sim_sometimes(crowd->sim, "seen-confirming");
        }
    }
}

// Closes, and looks at what then is held: nothing.
static void crowd_close(struct crowd *crowd)
{
    struct weir_metrics metrics;
    int error = weir_pool_close(crowd->pool, FAR_MS);
    weir_sim_check(crowd->sim, error == 0, "close-gave-up");
    weir_pool_stats(crowd->pool, &metrics);
    weir_sim_check(crowd->sim, weir_metrics_balanced(&metrics), "books-unbalanced");
    weir_sim_check(crowd->sim, metrics.held_messages == 0 && metrics.held_bytes == 0,
                   "held-at-the-end");
}

static void crowd_run(struct crowd *crowd)
{
    uint32_t actors[PRODUCERS_MAX + WATCHERS_MAX];
    uint32_t producers = weir_sim_draw(crowd->sim, "producers", 1, PRODUCERS_MAX);
    uint32_t watchers =
        crowd->closed_beside ? 0 : weir_sim_draw(crowd->sim, "watchers", 1, WATCHERS_MAX);
    for (uint32_t i = 0; i < producers; i++) {
        actors[i] = weir_sim_start(crowd->sim, producer_main, crowd);
    }
    for (uint32_t i = producers; i < producers + watchers; i++) {
        actors[i] = weir_sim_start(crowd->sim, watcher_main, crowd);
    }
    if (crowd->closed_beside) {
        weir_sim_sleep(crowd->sim, weir_sim_draw(crowd->sim, "close_us", 0, 8) * UINT64_C(1000));
        crowd_close(crowd);
    }
    for (uint32_t i = 0; i < producers + watchers; i++) {
        weir_sim_join(crowd->sim, actors[i]);
    }
}

// The final state, exactly.
static void crowd_end(struct crowd *crowd)
{
    struct weir_metrics metrics;
    weir_pool_stats(crowd->pool, &metrics);
    uint32_t accepted = atomic_load_explicit(&crowd->accepted, memory_order_relaxed);
    uint32_t offered = atomic_load_explicit(&crowd->offered, memory_order_relaxed);
    weir_sim_check(crowd->sim, metrics.accepted_messages == accepted, "accepted-miscounted");
    weir_sim_check(crowd->sim, metrics.offered_messages == offered, "offered-miscounted");
    weir_pool_destroy(crowd->pool);
}

static void crowd_play(struct weir_sim *sim, bool closed_beside)
{
    struct crowd crowd = {.sim = sim, .closed_beside = closed_beside};
    struct collector collector = {.sim = sim, .os = weir_sim_os(sim)};
    struct weir_pool_options options;
    char why[256];
    collector.bytes_max = 64u << weir_sim_draw(sim, "read_bytes", 0, 3);
    collector.pause_ns = weir_sim_draw(sim, "pause_us", 0, 3) * UINT64_C(1000);
    collector.reads_max = weir_sim_draw(sim, "reads", 0, 4);
    (void)weir_sim_process_start(sim, collector_main, &collector);
    while (atomic_load_explicit(&collector.listening, memory_order_acquire) == 0) {
        weir_sim_sleep(sim, 1000);
    }
    struct weir_runtime *runtime = scenario_runtime(sim, 1);
    weir_pool_options_init(&options);
    options.endpoint = "unix:@stats";
    // A segment has room for one more than flush_limit_bytes: the larger, the fewer segments, and
    // the more is thrown away.
    options.message_bytes_max = closed_beside ? 1000 : MESSAGE_BYTES_MAX;
    options.flush_limit_bytes = 1u << weir_sim_draw(sim, "flush_limit", 0, 8);
    options.buffer_bytes_max = closed_beside ? 4u << 10 : 8u << 10;
    options.flush_interval_ms = 1;
    options.retry_interval_ms = 1;
    options.full = closed_beside ? WEIR_FULL_DROP_OLDEST
                                 : weir_sim_draw(sim, "policy", 0, 2); // the enum's three values
    options.log = crowd_told;
    options.log_context = &crowd;
    crowd.messages = weir_sim_draw(sim, "messages", 1, 24);
    crowd.snapshots = weir_sim_draw(sim, "snapshots", 2, 12);
    int error = weir_pool_open(&crowd.pool, runtime, &options, why, sizeof why);
    weir_sim_check(sim, error == 0, why);
    crowd_run(&crowd);
    if (!closed_beside) {
        crowd_close(&crowd);
    }
    crowd_end(&crowd);
    weir_runtime_destroy(runtime);
}

static void stats_pool(struct weir_sim *sim)
{
    crowd_play(sim, false);
}

static void stats_close(struct weir_sim *sim)
{
    crowd_play(sim, true);
}

static const char *const pool_probes[] = {"seen-throwing-away", "seen-confirming", "told", NULL};

const struct weir_sim_scenario sim_scenarios_stats[] = {
    {.name = "stats-books",
     .about = "the books of a writer's task are read while it shows the next ones",
     .run = stats_books,
     .kinds = SCENARIO_MEMORY_KINDS,
     .fine_only = true},
    {.name = "stats-shed",
     .about = "snapshots while a thread throws away what it has just logged",
     .run = stats_shed,
     .kinds = SCENARIO_MEMORY_KINDS,
     .fine_only = true,
     .weight = 15},
    {.name = "stats-pool",
     .about = "snapshots of a pool at work balance, and no counter falls",
     .run = stats_pool,
     .kinds = SCENARIO_RUNTIME_KINDS & ~(1u << WEIR_SIM_TIME),
     .probes = pool_probes,
     .probe_seeds = 2000,
     .weight = 2},
    {.name = "stats-close",
     .about = "a pool is closed while threads log and throw away: nothing is held then",
     .run = stats_close,
     .kinds = SCENARIO_RUNTIME_KINDS & ~(1u << WEIR_SIM_TIME),
     .weight = 20},
    {0},
};
