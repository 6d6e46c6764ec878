// A thread of a host that logs.
#include "sim/producer.h"

#include "sim/message.h"
#include "sim/sim.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define BYTES_MAX 16384
#define PARTS_MAX 3

// Steele, Lea, Flood, 2014: splitmix64.
uint32_t sim_random_step(uint64_t *state, uint32_t bound)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)(((z ^ (z >> 31)) >> 32) * bound >> 32);
}

static uint32_t below(struct sim_producer *me, uint32_t bound)
{
    return sim_random_step(&me->random, bound);
}

static bool tricky(struct sim_producer *me, enum sim_trick trick, uint32_t one_in)
{
    return (me->plan->tricks >> trick & 1) != 0 && below(me, one_in) == 0;
}

static struct sim_message producer_next(struct sim_producer *me)
{
    const struct sim_host_plan *plan = me->plan;
    return (struct sim_message){
        .producer = me->number,
        .sequence = me->sequence++,
        .bytes = plan->bytes_min + below(me, plan->bytes_max - plan->bytes_min + 1),
        .newlines = tricky(me, SIM_TRICK_NEWLINES, 3),
    };
}

// Where the host's threads talk to each other, one that flushes afterwards knows of what was taken;
// where they do not, "before" has no meaning between them.
static void producer_tell(struct sim_producer *me)
{
    if (me->logged != NULL) {
        sim_memory_release(me->sim->memory, sim_actor(me->sim), me->logged);
    }
}

static void producer_answer(struct sim_producer *me, uint32_t sequence, int error)
{
    sim_auditor_answer(me->auditor, me->number, sequence, error);
    producer_tell(me);
}

// All messages of one thread go to one writer: it uses one key for all of them, or none.
static struct weir_log_options producer_options(struct sim_producer *me)
{
    bool keys = (me->plan->tricks >> SIM_TRICK_KEYS & 1) != 0;
    uint8_t severity = (uint8_t)below(me, WEIR_SEVERITY_DEFAULT + 1);
    return (struct weir_log_options){keys ? me->number + 1 : 0, severity};
}

int sim_producer_log(struct sim_producer *me)
{
    unsigned char bytes[BYTES_MAX];
    struct sim_message message = producer_next(me);
    sim_message_write(&message, bytes);
    sim_auditor_offer(me->auditor, message.producer, message.sequence, message.bytes);
    int error;
    if ((me->plan->tricks & (1u << SIM_TRICK_KEYS | 1u << SIM_TRICK_PARTS)) == 0) {
        error = weir_log(me->pool, bytes, message.bytes);
    } else {
        struct weir_log_options options = producer_options(me);
        struct weir_iovec parts[PARTS_MAX];
        size_t parts_count = 0, at = 0;
        bool split = tricky(me, SIM_TRICK_PARTS, 2);
        while (split && parts_count < PARTS_MAX - 1) {
            size_t part = below(me, (uint32_t)(message.bytes - at + 1));
            parts[parts_count++] = (struct weir_iovec){bytes + at, part};
            at += part;
        }
        parts[parts_count++] = (struct weir_iovec){bytes + at, message.bytes - at};
        error = weir_logv(me->pool, &options, parts, parts_count);
    }
    producer_answer(me, message.sequence, error);
    return error;
}

static void producer_slow(struct sim_producer *me)
{
    weir_sim_sleep(me->sim, below(me, 4) == 0 ? MS * below(me, 20) : US * below(me, 50));
    // A thread that waits for room while it holds a slot would wait for itself.
    if (me->plan->options.full != WEIR_FULL_BLOCK && below(me, 2) == 0 &&
        me->sequence < me->plan->messages) {
        (void)sim_producer_log(me);
    }
}

static void producer_slot(struct sim_producer *me)
{
    struct weir_log_options options = producer_options(me);
    struct sim_message message = producer_next(me);
    struct weir_slot slot;
    sim_auditor_offer(me->auditor, message.producer, message.sequence, message.bytes);
    int error = weir_reserve(me->pool, &options, message.bytes, &slot);
    if (error != 0) {
        producer_answer(me, message.sequence, error);
        return;
    }
    sim_auditor_hold(me->auditor, message.producer, message.sequence);
    producer_tell(me);
    if (tricky(me, SIM_TRICK_SLOW_SLOTS, 3)) {
        producer_slow(me);
    }
    if (below(me, 4) == 0) {
        sim_auditor_abandon(me->auditor, message.producer, message.sequence);
        weir_abandon(me->pool, &slot);
        return;
    }
    if (below(me, 2) == 0) { // less than was reserved
        message.bytes -= below(me, message.bytes - SIM_MESSAGE_BYTES_MIN + 1);
    }
    // This file is not instrumented, and what it writes there is the code under test's.
    sim_memory_write(me->sim->memory, slot.bytes, message.bytes, __builtin_return_address(0));
    sim_message_write(&message, slot.bytes);
    sim_auditor_offer(me->auditor, message.producer, message.sequence, message.bytes);
    error = weir_commit(me->pool, &slot, message.bytes);
    producer_answer(me, message.sequence, error);
}

static void producer_nonsense(struct sim_producer *me)
{
    const struct weir_pool_options *options = &me->plan->options;
    bool datagrams = me->plan->collectors[0].kind >= SIM_COLLECTOR_UNIX_DATAGRAM;
    bool empty_refused = options->header == WEIR_HEADER_NONE &&
                         (datagrams || options->framing == WEIR_FRAMING_OCTET_COUNTING ||
                          options->framing == WEIR_FRAMING_RELP);
    unsigned char bytes[BYTES_MAX];
    uint32_t count = empty_refused && below(me, 2) == 0 ? 0 : options->message_bytes_max + 1;
    for (uint32_t i = 0; i < count; i++) {
        bytes[i] = 'x';
    }
    sim_auditor_nonsense(me->auditor, count, weir_log(me->pool, bytes, count));
}

static void producer_pause(struct sim_producer *me)
{
    switch (me->plan->pace) {
    case SIM_PACE_STEADY:
    case SIM_PACES_COUNT: return;
    case SIM_PACE_BRISK: weir_sim_sleep(me->sim, US * below(me, 100)); return;
    case SIM_PACE_BURSTS:
        if (below(me, 5) == 0) {
            weir_sim_sleep(me->sim, MS * below(me, 10));
        }
        return;
    case SIM_PACE_IDLE:
        if (below(me, 8) == 0) {
            weir_sim_sleep(me->sim, MS * (100 + below(me, 200)));
        }
    }
}

void sim_producer_main(void *argument)
{
    struct sim_producer *me = argument;
    while (me->sequence < me->plan->messages) {
        producer_pause(me);
        if (tricky(me, SIM_TRICK_NONSENSE, 8)) {
            producer_nonsense(me);
        } else if (tricky(me, SIM_TRICK_SLOTS, 2)) {
            producer_slot(me);
        } else {
            (void)sim_producer_log(me);
        }
    }
    me->done = true;
}
