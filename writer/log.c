// What hosts call: weir_log and its kin. Picks the writer, applies the policy, keeps the books.
//
// Most messages are of one part, need a newline behind them and nothing else, and go into the open
// segment without filling it. What they take is in one function, log_one, in a straight line;
// whatever else there may be is out of the way, in functions of its own.
#include <errno.h>
#include <string.h>

#include "runtime/assert.h"
#include "writer/append.h"
#include "writer/pool.h"
#include "writer/row.h"

// A blocked thread looks again by itself, since a full row can be a passing appearance (segment.h).
#define BLOCKED_LOOK_NS 10000000u

// Runs for few messages: kept out of the way of what runs for most.
#define RARE __attribute__((noinline))

// ---- The writer of a message ----

static RARE struct weir_writer *pool_writer_of_key(struct weir_pool *pool, uint64_t key)
{
    uint32_t count = pool->writers_count;
    if (key == 0) {
        key = pool->os->thread_id(pool->os->self);
    }
    key *= UINT64_C(0x9e3779b97f4a7c15); // Fibonacci hashing: the upper bits depend on all of key
    return &pool->writers[(key >> 32) * count >> 32];
}

static inline struct weir_writer *pool_writer(struct weir_pool *pool, uint64_t key)
{
    return pool->writers_count == 1 ? &pool->writers[0] : pool_writer_of_key(pool, key);
}

static const struct weir_log_options log_defaults = {0, WEIR_SEVERITY_DEFAULT};

// ---- Policy and books ----

static enum weir_rejection rejection_of(int error)
{
    switch (error) {
    case WEIR_EFULL: return WEIR_REJECTED_FULL;
    case WEIR_ETOOBIG: return WEIR_REJECTED_TOO_BIG;
    case WEIR_EDELIMITER: return WEIR_REJECTED_DELIMITER;
    case WEIR_ECLOSED: return WEIR_REJECTED_CLOSED;
    default: weir_assert(error == -EINVAL); return WEIR_REJECTED_EMPTY;
    }
}

static int log_reject(struct weir_writer *writer, int error, uint64_t bytes)
{
    weir_counter_add(&writer->counters.rejected[rejection_of(error)], 1);
    if (error == WEIR_EFULL) {
        weir_counter_add(&writer->counters.rejected_full_bytes, bytes);
        weir_append_note_loss(writer, 1, bytes);
    }
    return error;
}

static RARE int log_forked(struct weir_pool *pool)
{
    weir_counter_add(&pool->rejected_forked, 1);
    return WEIR_EFORKED;
}

static uint64_t parts_bytes(const struct weir_iovec *parts, size_t parts_count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < parts_count; i++) {
        bytes += parts[i].bytes_count;
    }
    return bytes;
}

// Sleeps until room may have been made. The caller is counted in `waiters` and tries once more
// before the next sleep, so that progress between its try and its sleep is seen. [R4]
static void log_wait(struct weir_pool *pool, struct weir_writer *writer, uint32_t seen)
{
    weir_writer_press(writer);
    weir_pool_wait(pool, seen, pool->os->now_ns(pool->os->self) + BLOCKED_LOOK_NS);
}

// Reserves room for a frame, by the pool's policy.
static RARE int log_reserve(struct weir_pool *pool, struct weir_writer *writer, size_t room_bytes,
                            struct weir_reservation *reservation)
{
    int error = weir_append_reserve(writer, room_bytes, reservation);
    if (error != WEIR_EFULL || pool->plan.full != WEIR_FULL_BLOCK) {
        return error;
    }
    atomic_fetch_add_explicit(&pool->waiters, 1, memory_order_seq_cst); // [R4]
    do {
        uint32_t seen = atomic_load_explicit(&pool->progress, memory_order_seq_cst); // [R4]
        error = weir_append_reserve(writer, room_bytes, reservation);
        if (error == WEIR_EFULL) {
            log_wait(pool, writer, seen);
        }
    } while (error == WEIR_EFULL);
    atomic_fetch_sub_explicit(&pool->waiters, 1, memory_order_relaxed);
    return error;
}

static RARE int log_parts(struct weir_pool *pool, struct weir_writer *writer, uint8_t severity,
                          const struct weir_iovec *parts, size_t parts_count)
{
    struct weir_reservation reservation;
    size_t frame_bytes;
    int error = weir_append_measure(writer, severity, parts, parts_count, &frame_bytes);
    if (error == 0) {
        error = log_reserve(pool, writer, frame_bytes, &reservation);
    }
    if (error < 0) {
        return log_reject(writer, error, parts_bytes(parts, parts_count));
    }
    weir_append_put(writer, severity, parts, parts_count, &reservation);
    return 0;
}

static RARE int log_framed(struct weir_pool *pool, struct weir_writer *writer, uint8_t severity,
                           const void *bytes, size_t bytes_count)
{
    struct weir_iovec part = {bytes, bytes_count};
    return log_parts(pool, writer, severity, &part, 1);
}

static inline void plain_write(unsigned char *to, const void *bytes, size_t bytes_count)
{
    memcpy(to, bytes, bytes_count);
    to[bytes_count] = '\n';
}

// The message opens a segment or fills one.
static RARE int log_plain_at_edge(struct weir_pool *pool, struct weir_writer *writer,
                                  const void *bytes, size_t bytes_count)
{
    struct weir_reservation reservation;
    int error = log_reserve(pool, writer, bytes_count + 1, &reservation);
    if (error < 0) {
        return log_reject(writer, error, bytes_count);
    }
    plain_write(reservation.data, bytes, bytes_count);
    weir_append_commit(writer, &reservation, reservation.bytes);
    return 0;
}

// The open segment has no place that leaves it open. Where messages are refused, many are.
static RARE int log_plain_outside(struct weir_pool *pool, struct weir_writer *writer,
                                  const void *bytes, size_t bytes_count, uint64_t tail)
{
    if (weir_row_full(writer->row, tail) && pool->plan.full == WEIR_FULL_DROP_NEWEST) {
        return log_reject(writer, WEIR_EFULL, bytes_count);
    }
    return log_plain_at_edge(pool, writer, bytes, bytes_count);
}

// Parameters are in the order of weir_log's, which passes its own on where they are.
static __attribute__((noinline)) int log_one(struct weir_pool *pool, const void *bytes,
                                             size_t bytes_count, uint64_t key, uint8_t severity)
{
    if (weir_pool_forked(pool)) {
        return log_forked(pool);
    }
    struct weir_writer *writer = pool_writer(pool, key);
    // An empty message, whose bytes may be NULL, is none of these.
    if (bytes_count - 1 >= pool->plain_bytes_max ||
        (!pool->newlines_pass && memchr(bytes, '\n', bytes_count) != NULL)) {
        return log_framed(pool, writer, severity, bytes, bytes_count);
    }
    struct weir_row *row = writer->row;
    uint32_t frame_bytes = (uint32_t)bytes_count + 1;
    uint64_t tail;
    if (!row_reserve_within(row, frame_bytes, &tail)) {
        return log_plain_outside(pool, writer, bytes, bytes_count, tail);
    }
    struct row_segment *segment = row_segment_at(row, row_segment_of(row, tail_sequence(tail)));
    plain_write(segment_payload(row, segment) + tail_bytes(tail), bytes, bytes_count);
    (void)segment_commit(segment, tail_messages(tail), tail_bytes(tail), frame_bytes, WORD_COMMIT);
    weir_writer_nudge(writer);
    return 0;
}

int weir_logv(struct weir_pool *pool, const struct weir_log_options *options,
              const struct weir_iovec *parts, size_t parts_count)
{
    if (options == NULL) {
        options = &log_defaults;
    }
    weir_assert(options->severity <= WEIR_SEVERITY_DEFAULT);
    if (parts_count == 1) {
        return log_one(pool, parts->bytes, parts->bytes_count, options->key, options->severity);
    }
    if (weir_pool_forked(pool)) {
        return log_forked(pool);
    }
    return log_parts(pool, pool_writer(pool, options->key), options->severity, parts, parts_count);
}

int weir_log(struct weir_pool *pool, const void *bytes, size_t bytes_count)
{
    return log_one(pool, bytes, bytes_count, 0, WEIR_SEVERITY_DEFAULT);
}

// ---- Formatting in place ----

// What is in struct weir_slot's private words.
struct slot_state {
    struct weir_writer *writer;
    struct weir_reservation reservation;
    size_t payload_bytes_max;
    uint8_t severity;
};
_Static_assert(sizeof(struct slot_state) <= sizeof(((struct weir_slot *)0)->private_),
               "a slot has room for its state");

static inline int slot_give(struct weir_slot *slot, const struct slot_state *state, size_t prefix)
{
    slot->bytes = state->reservation.data + prefix;
    slot->bytes_max = state->payload_bytes_max;
    memcpy(slot->private_, state, sizeof(*state));
    return 0;
}

// The prefix depends on the framing; or the message opens a segment, fills one or finds no room.
static RARE int slot_reserve(struct weir_pool *pool, struct weir_writer *writer, uint8_t severity,
                             size_t bytes_max, struct weir_slot *slot)
{
    struct slot_state state = {
        .writer = writer, .payload_bytes_max = bytes_max, .severity = severity};
    const struct weir_framer *framer = &pool->plan.framer;
    if (bytes_max > pool->plan.message_bytes_max) {
        return log_reject(writer, WEIR_ETOOBIG, bytes_max);
    }
    size_t prefix = weir_framer_prefix_bytes_max(framer, bytes_max);
    size_t room_bytes = prefix + bytes_max + weir_framer_suffix_bytes(framer);
    int error = log_reserve(pool, writer, room_bytes, &state.reservation);
    return error < 0 ? log_reject(writer, error, bytes_max) : slot_give(slot, &state, prefix);
}

int weir_reserve(struct weir_pool *pool, const struct weir_log_options *options, size_t bytes_max,
                 struct weir_slot *slot)
{
    slot->bytes = NULL;
    if (weir_pool_forked(pool)) {
        return log_forked(pool);
    }
    if (options == NULL) {
        options = &log_defaults;
    }
    weir_assert(options->severity <= WEIR_SEVERITY_DEFAULT);
    struct weir_writer *writer = pool_writer(pool, options->key);
    struct weir_row *row = writer->row;
    uint64_t tail;
    if (bytes_max - 1 >= pool->plain_bytes_max ||
        !row_reserve_within(row, (uint32_t)bytes_max + 1, &tail)) {
        return slot_reserve(pool, writer, options->severity, bytes_max, slot);
    }
    uint32_t room_bytes = (uint32_t)bytes_max + 1;
    struct slot_state state = {
        .writer = writer, .payload_bytes_max = bytes_max, .severity = options->severity};
    reservation_set(row, &state.reservation, tail, tail + TAIL_MESSAGE + room_bytes, room_bytes);
    return slot_give(slot, &state, 0);
}

static struct slot_state slot_end(struct weir_slot *slot)
{
    weir_assert(slot->bytes != NULL); // reserved, and not ended before
    struct slot_state state;
    memcpy(&state, slot->private_, sizeof(state));
    slot->bytes = NULL;
    return state;
}

static RARE int slot_finish(struct weir_pool *pool, struct slot_state *state, size_t bytes_count)
{
    const struct weir_framer *framer = &pool->plan.framer;
    uint64_t wall_ns = framer->header == WEIR_HEADER_NONE ? 0 : pool->os->wall_ns(pool->os->self);
    unsigned char *room = state->reservation.data;
    uint32_t offset, frame_bytes;
    int error = weir_framer_finish(framer, wall_ns, state->severity, room, bytes_count,
                                   state->payload_bytes_max, &offset, &frame_bytes);
    if (error == 0 && frame_bytes == 0 && !pool->plan.stream) {
        error = -EINVAL; // an empty datagram is not a message
    }
    if (error < 0) {
        weir_append_commit(state->writer, &state->reservation, WEIR_SEGMENT_VOID);
        return error;
    }
    // The prefix lies directly before the payload; a message begins where its reservation does.
    if (offset > 0) {
        memmove(room, room + offset, frame_bytes);
    }
    weir_append_commit(state->writer, &state->reservation, frame_bytes);
    return 0;
}

int weir_commit(struct weir_pool *pool, struct weir_slot *slot, size_t bytes_count)
{
    weir_assert(bytes_count <= slot->bytes_max);
    struct slot_state state = slot_end(slot);
    unsigned char *room = state.reservation.data;
    if (bytes_count - 1 >= pool->plain_bytes_max ||
        (!pool->newlines_pass && memchr(room, '\n', bytes_count) != NULL)) {
        return slot_finish(pool, &state, bytes_count);
    }
    room[bytes_count] = '\n';
    weir_append_commit(state.writer, &state.reservation, (uint32_t)bytes_count + 1);
    return 0;
}

void weir_abandon(struct weir_pool *pool, struct weir_slot *slot)
{
    struct slot_state state = slot_end(slot);
    weir_assert(state.writer >= pool->writers &&
                state.writer < pool->writers + pool->plan.writers_count);
    weir_append_commit(state.writer, &state.reservation, WEIR_SEGMENT_VOID);
}
