// A court for tests of sim/auditor.h: an auditor, histories told to it, and what it finds broken.
#ifndef WEIR_TESTS_SUPPORT_COURT_H
#define WEIR_TESTS_SUPPORT_COURT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sim/auditor.h"
#include "sim/message.h"

#define MS UINT64_C(1000000)
#define BYTES 40 // of a message, where nothing else is said
#define PRODUCERS 3
#define MESSAGES 20

struct court {
    struct sim_arena *arena;
    struct sim_auditor_options options;
    struct sim_auditor *auditor;
    char broken[64]; // the first name reported; empty: none
};

static inline void court_report(void *context, const char *name, const char *message)
{
    struct court *me = context;
    assert_true(strlen(message) > 0);
    if (me->broken[0] == '\0') {
        (void)snprintf(me->broken, sizeof(me->broken), "%s", name);
    }
}

static inline void court_begin(struct court *me, enum sim_promise promise)
{
    memset(me, 0, sizeof(*me));
    me->arena = sim_arena_create();
    assert_non_null(me->arena);
    sim_arena_begin(me->arena, 0xa5);
    me->options = (struct sim_auditor_options){.arena = me->arena,
                                               .fail = court_report,
                                               .context = me,
                                               .promise = promise,
                                               .framing = WEIR_FRAMING_OCTET_COUNTING,
                                               .writers_count = 1,
                                               .producers_count = PRODUCERS,
                                               .messages_max = MESSAGES,
                                               .record_bytes_max = 1000,
                                               .slack_ns = MS};
}

static inline void court_open(struct court *me)
{
    me->auditor = sim_auditor_create(&me->options);
    assert_non_null(me->auditor);
}

static inline void court_ready(struct court *me, enum sim_promise promise)
{
    court_begin(me, promise);
    court_open(me);
}

// One that sees what is sent as well as what is read.
static inline void court_wired(struct court *me, enum sim_promise promise)
{
    court_begin(me, promise);
    me->options.wired = true;
    court_open(me);
}

static inline void court_end(struct court *me, const char *expected)
{
    assert_string_equal(me->broken, expected);
    sim_arena_destroy(me->arena);
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
