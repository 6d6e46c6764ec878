// Scenarios of room in the row: a thread is refused only when there is none.
//
// Every thread has one message under way at a time, and goes on when the segment it lies in has
// been given back; or it asks for one, and may then carry a segment from the free stack to a slot.
// So with as many segments as threads WEIR_EFULL has no excuse (segment.h says why it can be
// early). Nothing sleeps by the clock, so that a thread can stand still between two instructions
// while the others go round the ring.
#include "sim/scenario_support.h"
#include "sim/scenarios.h"
#include "writer/row.h"

#define THREADS_MAX 3

struct room {
    struct weir_sim *sim;
    const struct weir_os *os;
    struct weir_row *row;
    uint32_t messages;                      // of each thread
    _Atomic uint32_t committed;             // the consumer sleeps on it
    _Atomic uint32_t returned[THREADS_MAX]; // messages whose segment was given back
};

struct guest {
    struct room *room;
    uint32_t thread;
};

static void room_count(struct room *room, _Atomic uint32_t *count)
{
    (void)atomic_fetch_add_explicit(count, 1, memory_order_release);
    room->os->futex_wake(room->os->self, count, UINT32_MAX);
}

static void guest_main(void *argument)
{
    struct guest *me = argument;
    struct room *room = me->room;
    _Atomic uint32_t *returned = &room->returned[me->thread];
    for (uint32_t i = 0; i < room->messages; i++) {
        struct weir_reservation reservation;
        uint64_t tail = atomic_load_explicit(&room->row->tail, memory_order_relaxed);
        weir_sim_check(room->sim, !weir_row_full(room->row, tail), "full-with-room");
        int error = weir_row_reserve(room->row, 1, &reservation);
        weir_sim_check(room->sim, error == 0, "refused-with-room");
        reservation.data[0] = (unsigned char)me->thread;
        (void)weir_row_commit(room->row, &reservation, 1);
        room_count(room, &room->committed);
        while (atomic_load_explicit(returned, memory_order_acquire) == i) {
            (void)room->os->futex_wait(room->os->self, returned, i, WEIR_NEVER);
        }
    }
}

// Takes and gives back what is complete.
//   returns  how many messages.
static uint32_t room_clear(struct room *room)
{
    struct weir_segment segment;
    uint32_t messages = 0;
    (void)weir_row_seal_open(room->row, 0);
    while (weir_row_take(room->row, &segment) == 1) {
        uint32_t counts[THREADS_MAX] = {0};
        for (uint32_t i = 0; i < segment.messages; i++) {
            counts[segment.payload[segment.entries[i].offset]]++;
        }
        weir_row_release(room->row, &segment);
        for (uint32_t i = 0; i < THREADS_MAX; i++) {
            weir_sim_check(room->sim, counts[i] <= 1, "message-twice");
            if (counts[i] == 1) {
                room_count(room, &room->returned[i]);
            }
        }
        messages += segment.messages;
    }
    return messages;
}

static void segment_room(struct weir_sim *sim)
{
    struct room room = {.sim = sim, .os = weir_sim_os(sim)};
    uint32_t threads = weir_sim_draw(sim, "threads", 2, THREADS_MAX);
    room.messages = weir_sim_draw(sim, "messages", 1, 12);
    struct weir_row_options options = {
        .flush_limit_bytes = weir_sim_draw(sim, "flush_limit", 1, 2),
        .message_bytes_max = 1,
        .segment_count = weir_sim_draw(sim, "segments", threads, 2 * threads),
        .segment_messages_max = weir_sim_draw(sim, "index", 1, 2),
    };
    size_t bytes = weir_row_region_bytes(&options);
    void *region = room.os->alloc(room.os->self, bytes, WEIR_ROW_LINE_BYTES);
    weir_sim_check(sim, region != NULL, "segment-region");
    room.row = weir_row_init(region, &options);
    struct guest guests[THREADS_MAX];
    uint32_t actors[THREADS_MAX];
    for (uint32_t i = 0; i < threads; i++) {
        guests[i] = (struct guest){&room, i};
        actors[i] = weir_sim_start(sim, guest_main, &guests[i]);
    }
    for (uint32_t cleared = 0; cleared < threads * room.messages;) {
        uint32_t seen = atomic_load_explicit(&room.committed, memory_order_acquire);
        uint32_t now = room_clear(&room);
        cleared += now;
        if (now == 0) {
            (void)room.os->futex_wait(room.os->self, &room.committed, seen, WEIR_NEVER);
        }
    }
    for (uint32_t i = 0; i < threads; i++) {
        weir_sim_join(sim, actors[i]);
    }
    room.os->release(room.os->self, region, bytes);
}

const struct weir_sim_scenario sim_scenarios_room[] = {
    {.name = "segment-room",
     .about = "threads with one message under way each are never refused",
     .run = segment_room,
     .kinds = SCENARIO_MEMORY_KINDS,
     .weight = 10},
    {0},
};
