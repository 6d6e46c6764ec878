// Histories told to a court's auditor: messages logged, and streams of them sent and read.
#ifndef WEIR_TESTS_SUPPORT_COURT_STREAM_H
#define WEIR_TESTS_SUPPORT_COURT_STREAM_H

#include "sim/message.h"
#include "tests/support_court.h"

#define PRODUCERS 3
#define MESSAGES 20

static inline void court_ready(struct court *me, enum sim_promise promise)
{
    court_begin(me, promise, PRODUCERS, MESSAGES);
    court_open(me);
}

// One that sees what is sent as well as what is read.
static inline void court_wired(struct court *me, enum sim_promise promise)
{
    court_begin(me, promise, PRODUCERS, MESSAGES);
    me->options.wired = true;
    court_open(me);
}

static inline void log_message(struct court *me, uint32_t producer, uint32_t sequence, int answer)
{
    sim_auditor_offer(me->auditor, producer, sequence, BYTES);
    sim_auditor_answer(me->auditor, producer, sequence, answer);
}

static inline void log_messages(struct court *me, uint32_t producer, uint32_t from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        log_message(me, producer, from + i, 0);
    }
}

// A reader of a pool that promises what was read, and that has accepted so many.
static inline uint32_t court_read(struct court *me, uint32_t accepted)
{
    court_ready(me, SIM_PROMISE_READ);
    log_messages(me, 0, 0, accepted);
    return sim_auditor_begin(me->auditor, SIM_SIDE_READ);
}

// A sender of a pool that has accepted so many.
static inline uint32_t court_sent(struct court *me, enum sim_promise promise, uint32_t accepted)
{
    court_wired(me, promise);
    log_messages(me, 0, 0, accepted);
    return sim_auditor_begin(me->auditor, SIM_SIDE_SENT);
}

// A connection breaks, and the sender begins another.
static inline uint32_t court_again(struct court *me, uint32_t sent)
{
    sim_auditor_end(me->auditor, sent, SIM_END_BROKEN);
    return sim_auditor_begin(me->auditor, SIM_SIDE_SENT);
}

static inline size_t frame_payload(const struct court *me, const void *payload, size_t count,
                                   unsigned char *to)
{
    size_t at = 0;
    if (me->options.framing == WEIR_FRAMING_OCTET_COUNTING && !me->options.datagrams) {
        at = (size_t)sprintf((char *)to, "%zu ", count);
    }
    memcpy(to + at, payload, count);
    at += count;
    if (me->options.framing == WEIR_FRAMING_NEWLINE && !me->options.datagrams) {
        to[at++] = '\n';
    }
    return at;
}

static inline size_t frame_message(const struct court *me, uint32_t producer, uint32_t sequence,
                                   unsigned char *to)
{
    unsigned char payload[BYTES];
    struct sim_message message = {producer, sequence, BYTES, false};
    sim_message_write(&message, payload);
    return frame_payload(me, payload, BYTES, to);
}

static inline void pass_text(struct court *me, uint32_t connection, const char *text)
{
    unsigned char frame[1100];
    size_t count = frame_payload(me, text, strlen(text), frame);
    sim_auditor_bytes(me->auditor, connection, frame, count);
}

static inline void pass(struct court *me, uint32_t connection, uint32_t producer, uint32_t from,
                        uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        unsigned char frame[100];
        size_t bytes = frame_message(me, producer, from + i, frame);
        sim_auditor_bytes(me->auditor, connection, frame, bytes);
    }
}

// The same on both sides of the network.
static inline void carry(struct court *me, uint32_t sent, uint32_t read, uint32_t from,
                         uint32_t count)
{
    pass(me, sent, 0, from, count);
    pass(me, read, 0, from, count);
}

// The books as they should be: so many accepted, all confirmed.
static inline struct weir_metrics books(uint64_t accepted)
{
    return (struct weir_metrics){.offered_messages = accepted,
                                 .accepted_messages = accepted,
                                 .confirmed_messages = accepted,
                                 .accepted_bytes = accepted * 50,
                                 .confirmed_bytes = accepted * 50};
}

#endif
