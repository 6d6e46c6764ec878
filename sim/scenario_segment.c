// Scenarios of the row of segments alone: threads that append, one that takes, some that drop.
//
// Every message says who wrote it and which of his it is, in plain memory: where an order between
// writing and taking were missing, the fine grain would report a race. All that was accepted must
// be taken, dropped or void, once, and what one thread wrote in its order.
#include <string.h>

#include "sim/scenario_support.h"
#include "sim/scenarios.h"
#include "writer/row.h"

#define THREADS_MAX 4
#define MESSAGES_MAX 64
#define BYTES_MIN 5
#define BYTES_MAX 40
#define SEGMENTS_MAX 6
#define HELD_MAX 4
// A thread that finds no room looks again so often, and then gives its message up.
#define FULL_TRIES 50
#define US UINT64_C(1000)

struct profile {
    bool pauses;  // between reserve and commit
    bool drops;   // whoever finds no room makes some
    bool shuts;   // in the middle
    bool voids;   // messages are taken back, or end up shorter
    bool seals;   // a thread of its own seals
    bool wraps;   // the sequence's 15 bits do, soon
    bool patient; // without room a thread waits
};

enum fate { FATE_NONE, FATE_ACCEPTED, FATE_VOID };

struct stretch {
    struct weir_sim *sim;
    const struct weir_os *os;
    const struct profile *profile;
    struct weir_row *row;
    struct weir_row_options options;
    uint32_t threads, messages;
    _Atomic uint32_t running;
    _Atomic uint64_t dropped_messages, dropped_voids;
    uint8_t fates[THREADS_MAX][MESSAGES_MAX];  // by the thread that logs, before its commit
    uint16_t bytes[THREADS_MAX][MESSAGES_MAX]; // the same
    uint8_t seen[THREADS_MAX][MESSAGES_MAX];   // from here on by the taker alone
    uint32_t next[THREADS_MAX];
    uint64_t taken_messages, taken_voids;
};

struct appender {
    struct stretch *stretch;
    uint32_t thread;
};

static unsigned char pattern(uint32_t thread, uint32_t message, uint32_t index)
{
    return (unsigned char)(thread * 67 + message * 31 + index * 7);
}

// A call is where other threads may come in, also in the coarse grain.
static uint64_t stretch_now(struct stretch *me)
{
    return me->os->now_ns(me->os->self);
}

// ---- Appending ----

static bool stretch_drop(struct stretch *me)
{
    struct weir_row_drop drop;
    if (weir_row_drop_oldest(me->row, &drop) == 0) {
        return false;
    }
    weir_sim_sometimes(me->sim, "segment-dropped");
    weir_sim_check(me->sim, drop.messages > 0 && drop.void_messages <= drop.messages,
                   "segment-drop-counts");
    atomic_fetch_add_explicit(&me->dropped_messages, drop.messages, memory_order_relaxed);
    atomic_fetch_add_explicit(&me->dropped_voids, drop.void_messages, memory_order_relaxed);
    return true;
}

static int append_reserve(struct stretch *me, uint32_t bytes, struct weir_reservation *reservation)
{
    int result = weir_row_reserve(me->row, bytes, reservation);
    for (uint32_t i = 0; result == WEIR_EFULL && i < FULL_TRIES; i++) {
        weir_sim_sometimes(me->sim, "segment-row-full");
        bool room = me->profile->drops && stretch_drop(me);
        if (!room && me->profile->patient) {
            weir_sim_sleep(me->sim, 10 * US);
        } else if (!room) {
            (void)stretch_now(me);
        }
        result = weir_row_reserve(me->row, bytes, reservation);
    }
    return result;
}

static void append_one(struct stretch *me, uint32_t thread, uint32_t message)
{
    uint32_t bytes = BYTES_MIN + weir_sim_choose(me->sim, WEIR_SIM_WORK, BYTES_MAX - BYTES_MIN + 1);
    struct weir_reservation reservation;
    int result = append_reserve(me, bytes, &reservation);
    weir_sim_check(me->sim, result == 0 || result == WEIR_EFULL || result == WEIR_ECLOSED,
                   "segment-reserve-result");
    weir_sim_check(me->sim, result != WEIR_ECLOSED || me->profile->shuts, "segment-closed-early");
    if (result != 0) {
        return;
    }
    if (reservation.opened || reservation.closed) {
        weir_row_stamp(me->row, &reservation, stretch_now(me));
    }
    if (me->profile->pauses && weir_sim_choose(me->sim, WEIR_SIM_WORK, 4) == 0) {
        weir_sim_sleep(me->sim, US * weir_sim_choose(me->sim, WEIR_SIM_WORK, 200));
    }
    uint32_t fate = me->profile->voids ? weir_sim_choose(me->sim, WEIR_SIM_WORK, 6) : 0;
    uint32_t used = fate == 2 ? BYTES_MIN : bytes; // the rest is given back, or stays as a gap
    memcpy(reservation.data, &message, sizeof(message));
    reservation.data[4] = (unsigned char)thread;
    for (uint32_t i = BYTES_MIN; i < used; i++) {
        reservation.data[i] = pattern(thread, message, i);
    }
    me->bytes[thread][message] = (uint16_t)used;
    me->fates[thread][message] = fate == 1 ? FATE_VOID : FATE_ACCEPTED;
    if (weir_row_commit(me->row, &reservation, fate == 1 ? WEIR_SEGMENT_VOID : used)) {
        weir_sim_sometimes(me->sim, "segment-completed-by-commit");
    }
}

static void appender_main(void *argument)
{
    struct appender *appender = argument;
    struct stretch *me = appender->stretch;
    for (uint32_t i = 0; i < me->messages; i++) {
        append_one(me, appender->thread, i);
    }
    atomic_fetch_sub_explicit(&me->running, 1, memory_order_release);
}

static void sealer_main(void *argument)
{
    struct stretch *me = argument;
    for (uint32_t i = 0; i < 8; i++) {
        weir_sim_sleep(me->sim, 20 * US);
        if (weir_row_seal_open(me->row, stretch_now(me))) {
            weir_sim_sometimes(me->sim, "segment-completed-by-seal");
        }
    }
    if (me->profile->shuts) {
        (void)weir_row_shut(me->row, stretch_now(me));
    }
}

// ---- Taking ----

static void taken_message(struct stretch *me, const unsigned char *data, uint32_t bytes)
{
    uint32_t message, thread = data[4];
    memcpy(&message, data, sizeof(message));
    weir_sim_check(me->sim, thread < me->threads && message < me->messages, "segment-corrupt");
    weir_sim_check(me->sim, me->bytes[thread][message] == bytes, "segment-wrong-length");
    for (uint32_t i = BYTES_MIN; i < bytes; i++) {
        weir_sim_check(me->sim, data[i] == pattern(thread, message, i), "segment-corrupt");
    }
    weir_sim_check(me->sim, me->fates[thread][message] == FATE_ACCEPTED, "segment-void-delivered");
    weir_sim_check(me->sim, me->seen[thread][message] == 0, "segment-message-twice");
    weir_sim_check(me->sim, message >= me->next[thread], "segment-order-broken");
    for (uint32_t i = me->next[thread]; i < message && !me->profile->drops; i++) {
        weir_sim_check(me->sim, me->fates[thread][i] != FATE_ACCEPTED, "segment-message-lost");
    }
    me->seen[thread][message] = 1;
    me->next[thread] = message + 1;
}

static void taken_segment(struct stretch *me, const struct weir_segment *segment)
{
    uint32_t voids = 0, wire_bytes = 0;
    for (uint32_t i = 0; i < segment->messages; i++) {
        const struct weir_segment_entry *entry = &segment->entries[i];
        if (entry->bytes == WEIR_SEGMENT_VOID) {
            voids++;
            continue;
        }
        taken_message(me, segment->payload + entry->offset, entry->bytes);
        wire_bytes += entry->bytes;
    }
    weir_sim_check(me->sim, voids == segment->void_messages && wire_bytes == segment->wire_bytes,
                   "segment-counts");
    uint32_t position = 0, run_bytes = 1;
    while (position < segment->wire_bytes && run_bytes > 0) {
        (void)weir_segment_run(segment, position, &run_bytes);
        position += run_bytes;
    }
    weir_sim_check(me->sim, position == segment->wire_bytes, "segment-wire");
    weir_sim_check(me->sim,
                   weir_segment_messages_within(segment, segment->wire_bytes) ==
                       segment->messages - voids,
                   "segment-wire");
    me->taken_messages += segment->messages;
    me->taken_voids += voids;
}

// Takes what there is, and gives some of it back, the newest or the oldest first.
static int stretch_take(struct stretch *me, struct weir_segment *held, uint32_t *held_count)
{
    int result = 1;
    while (result == 1 && *held_count < HELD_MAX) {
        result = weir_row_take(me->row, &held[*held_count]);
        if (result == 1) {
            taken_segment(me, &held[*held_count]);
            ++*held_count;
            if (weir_sim_choose(me->sim, WEIR_SIM_WORK, 2) == 0) {
                break;
            }
        }
    }
    uint32_t keep = result == 1 ? weir_sim_choose(me->sim, WEIR_SIM_WORK, *held_count + 1) : 0;
    while (*held_count > keep) {
        bool first = weir_sim_choose(me->sim, WEIR_SIM_WORK, 2) == 0;
        uint32_t which = first ? 0 : *held_count - 1;
        weir_row_release(me->row, &held[which]);
        held[which] = held[--*held_count];
    }
    return result;
}

static void stretch_finish(struct stretch *me)
{
    struct weir_row_counts counts;
    uint64_t accepted = 0, voids = 0, seen = 0;
    for (uint32_t i = 0; i < me->threads; i++) {
        for (uint32_t j = 0; j < me->messages; j++) {
            accepted += me->fates[i][j] != FATE_NONE ? 1 : 0;
            voids += me->fates[i][j] == FATE_VOID ? 1 : 0;
            seen += me->seen[i][j];
        }
    }
    weir_row_count(me->row, &counts);
    uint64_t dropped = atomic_load_explicit(&me->dropped_messages, memory_order_relaxed);
    uint64_t dropped_voids = atomic_load_explicit(&me->dropped_voids, memory_order_relaxed);
    weir_sim_check(me->sim, counts.exact && counts.messages == accepted, "segment-books");
    // A thread that was about to open the next segment when the row was shut has put it in place.
    uint32_t slotted = me->profile->shuts ? 1 : 0;
    weir_sim_check(me->sim,
                   counts.free_count == me->options.segment_count ||
                       counts.free_count + slotted == me->options.segment_count,
                   "segment-leaked");
    weir_sim_check(me->sim, me->taken_messages + dropped == accepted, "segment-message-lost");
    weir_sim_check(me->sim, me->taken_voids + dropped_voids == voids, "segment-void-lost");
    weir_sim_check(me->sim, seen + me->taken_voids == me->taken_messages, "segment-message-lost");
}

// ---- A run ----

// As if so many segments had been used already.
static void row_advance(struct weir_row *row, uint64_t sequence)
{
    atomic_store_explicit(&row->tail, tail_closed(sequence - 1, sequence - 1),
                          memory_order_relaxed);
    atomic_store_explicit(&row->head, sequence, memory_order_relaxed);
    atomic_store_explicit(&row->closed_count, sequence - SEQUENCE_FIRST, memory_order_relaxed);
    for (uint64_t i = sequence; i < sequence + row->slot_count; i++) {
        atomic_store_explicit(row_slot_word(row, i), slot_word(i, 0), memory_order_relaxed);
    }
}

static void stretch_draw(struct stretch *me)
{
    struct weir_sim *sim = me->sim;
    me->threads = weir_sim_draw(sim, "threads", 1, THREADS_MAX);
    me->messages = 1u << weir_sim_draw(sim, "messages", 0, 6);
    me->options = (struct weir_row_options){
        .flush_limit_bytes = 1u << weir_sim_draw(sim, "flush_limit", 0, 7),
        .message_bytes_max = BYTES_MAX,
        .segment_count = weir_sim_draw(sim, "segments", 1, SEGMENTS_MAX),
        .segment_messages_max = weir_sim_draw(sim, "index", 1, 6),
    };
}

static void stretch_run(struct weir_sim *sim, const struct profile *profile)
{
    struct stretch me = {.sim = sim, .os = weir_sim_os(sim), .profile = profile};
    struct appender appenders[THREADS_MAX];
    uint32_t actors[THREADS_MAX + 1];
    struct weir_segment held[HELD_MAX];
    uint32_t held_count = 0;
    stretch_draw(&me);
    size_t bytes = weir_row_region_bytes(&me.options);
    void *region = me.os->alloc(me.os->self, bytes, WEIR_ROW_LINE_BYTES);
    weir_sim_check(sim, region != NULL, "segment-region");
    me.row = weir_row_init(region, &me.options);
    if (profile->wraps) { // a few before the 15 bits come round
        row_advance(me.row, 3 * SEQUENCE_FIRST - weir_sim_draw(sim, "before", 1, 8));
    }
    atomic_init(&me.running, me.threads);
    for (uint32_t i = 0; i < me.threads; i++) {
        appenders[i] = (struct appender){&me, i};
        actors[i] = weir_sim_start(sim, appender_main, &appenders[i]);
    }
    bool sealer = profile->seals || profile->shuts;
    actors[me.threads] = sealer ? weir_sim_start(sim, sealer_main, &me) : 0;
    while (atomic_load_explicit(&me.running, memory_order_acquire) > 0) {
        if (stretch_take(&me, held, &held_count) != 1) {
            weir_sim_sleep(sim, 5 * US);
        }
        if (weir_sim_choose(sim, WEIR_SIM_WORK, 8) == 0) {
            (void)weir_row_seal_open(me.row, stretch_now(&me));
        }
    }
    for (uint32_t i = 0; i < me.threads + (sealer ? 1 : 0); i++) {
        weir_sim_join(sim, actors[i]);
    }
    (void)weir_row_shut(me.row, stretch_now(&me));
    int result = 1;
    while (result == 1) {
        result = stretch_take(&me, held, &held_count);
    }
    weir_sim_check(sim, result == WEIR_ECLOSED, "segment-never-complete");
    stretch_finish(&me);
    me.os->release(me.os->self, region, bytes);
}

// ---- The free stack alone ----

#define ROUNDS_MAX 6

struct stack {
    struct weir_sim *sim;
    struct weir_row *row;
    uint32_t rounds;
    _Atomic uint32_t holders[SEGMENTS_MAX];
};

static void stack_main(void *argument)
{
    struct stack *me = argument;
    for (uint32_t i = 0; i < me->rounds; i++) {
        uint32_t left, taken[HELD_MAX], count = 0;
        uint32_t most = 1 + weir_sim_choose(me->sim, WEIR_SIM_WORK, HELD_MAX);
        for (; count < most && (taken[count] = weir_row_free_pop(me->row, &left)) != 0; count++) {
            uint32_t segment = taken[count] - 1;
            weir_sim_check(me->sim, segment < SEGMENTS_MAX, "segment-stack-foreign");
            uint32_t before =
                atomic_fetch_add_explicit(&me->holders[segment], 1, memory_order_relaxed);
            weir_sim_check(me->sim, before == 0, "segment-popped-twice");
        }
        // In any order, so that what others have seen on top comes back on top of something else.
        while (count > 0) {
            uint32_t which = weir_sim_choose(me->sim, WEIR_SIM_WORK, count);
            uint32_t segment = taken[which] - 1;
            taken[which] = taken[--count];
            atomic_fetch_sub_explicit(&me->holders[segment], 1, memory_order_relaxed);
            weir_row_free_push(me->row, segment);
        }
    }
}

static void segment_stack(struct weir_sim *sim)
{
    struct stack me = {.sim = sim, .rounds = weir_sim_draw(sim, "rounds", 1, ROUNDS_MAX)};
    uint32_t threads = weir_sim_draw(sim, "threads", 2, THREADS_MAX);
    struct weir_row_options options = {.flush_limit_bytes = 1,
                                       .message_bytes_max = 1,
                                       .segment_count = weir_sim_draw(sim, "segments", 2, 4),
                                       .segment_messages_max = 1};
    const struct weir_os *os = weir_sim_os(sim);
    uint32_t actors[THREADS_MAX];
    size_t bytes = weir_row_region_bytes(&options);
    void *region = os->alloc(os->self, bytes, WEIR_ROW_LINE_BYTES);
    weir_sim_check(sim, region != NULL, "segment-region");
    me.row = weir_row_init(region, &options);
    for (uint32_t i = 0; i < threads; i++) {
        actors[i] = weir_sim_start(sim, stack_main, &me);
    }
    for (uint32_t i = 0; i < threads; i++) {
        weir_sim_join(sim, actors[i]);
    }
    uint32_t left, count = 0;
    while (weir_row_free_pop(me.row, &left) != 0) {
        count++;
    }
    weir_sim_check(sim, count == options.segment_count, "segment-leaked");
    os->release(os->self, region, bytes);
}

static const char *const row_probes[] = {"segment-completed-by-commit", "segment-row-full", NULL};
static const char *const seal_probes[] = {"segment-completed-by-commit",
                                          "segment-completed-by-seal", "segment-row-full", NULL};
static const char *const drop_probes[] = {"segment-dropped", "segment-completed-by-seal",
                                          "segment-row-full", NULL};
static const char *const wrap_probes[] = {"segment-completed-by-commit", "segment-dropped", NULL};

// X(function, name, about, probes, what the profile has)
#define PROFILES(X)                                                                                \
    X(segment_append, "segment-append", "threads append, one takes", seal_probes, .patient = true, \
      .seals = true)                                                                               \
    X(segment_slow, "segment-slow", "threads sleep between reserve and commit", seal_probes,       \
      .pauses = true, .patient = true, .voids = true, .seals = true)                               \
    X(segment_void, "segment-void", "messages taken back, or shorter than reserved", row_probes,   \
      .voids = true, .patient = true)                                                              \
    X(segment_drop, "segment-drop", "whoever finds no room drops the oldest", drop_probes,         \
      .drops = true, .voids = true, .seals = true)                                                 \
    X(segment_shut, "segment-shut", "shut while threads append", row_probes, .shuts = true,        \
      .pauses = true, .patient = true)                                                             \
    X(segment_wrap, "segment-wrap", "the sequence number comes round", wrap_probes, .wraps = true, \
      .drops = true, .pauses = true)

#define PROFILE_RUN(function, name_, about_, probes_, ...)                                         \
    static void function(struct weir_sim *sim)                                                     \
    {                                                                                              \
        static const struct profile profile = {__VA_ARGS__};                                       \
        stretch_run(sim, &profile);                                                                \
    }
PROFILES(PROFILE_RUN)
#undef PROFILE_RUN

#define PROFILE_ENTRY(function, name_, about_, probes_, ...)                                       \
    {.name = (name_),                                                                              \
     .about = (about_),                                                                            \
     .run = function,                                                                              \
     .kinds = SCENARIO_RUNTIME_KINDS,                                                              \
     .probes = (probes_),                                                                          \
     .probe_seeds = 5000},
const struct weir_sim_scenario sim_scenarios_segment[] = {
    {.name = "segment-stack",
     .about = "the stack of free segments: nobody pops one that another has",
     .run = segment_stack,
     .kinds = SCENARIO_MEMORY_KINDS,
     .weight = 30},
    PROFILES(PROFILE_ENTRY){.name = NULL}};
#undef PROFILE_ENTRY
