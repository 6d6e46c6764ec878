// A court for tests of sim/auditor.h: an auditor, and the first thing it finds broken.
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

#define MS UINT64_C(1000000)
#define BYTES 40 // of a message, where nothing else is said

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

// The options may still be changed until it opens: they are those of one writer.
static inline void court_begin(struct court *me, enum sim_promise promise, uint32_t producers,
                               uint32_t messages)
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
                                               .producers_count = producers,
                                               .messages_max = messages,
                                               .record_bytes_max = 1000,
                                               .slack_ns = MS};
}

static inline void court_open(struct court *me)
{
    me->auditor = sim_auditor_create(&me->options);
    assert_non_null(me->auditor);
}

static inline void court_end(struct court *me, const char *expected)
{
    assert_string_equal(me->broken, expected);
    sim_arena_destroy(me->arena);
}

#endif
