// A second reader of RELP, for tests of the parser: of whole texts, held against what is fed to it.
#ifndef WEIR_TESTS_SUPPORT_RELP_READER_H
#define WEIR_TESTS_SUPPORT_RELP_READER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "writer/relp.h"

#define EVENTS_MAX 64

#define BAD_NUMBER "the frame's number is not a number"
#define LONG_NUMBER "the frame's number has more than nine digits"
#define BAD_COMMAND "the frame's command is not a word"
#define LONG_COMMAND "the frame's command has more than 32 letters"
#define OTHER_COMMAND "a command that only clients send"
#define BAD_LENGTH "the frame's length is not a number"
#define LONG_LENGTH "the frame's length has more than nine digits"
#define LONG_FRAME "the frame is longer than any a server needs"
#define NO_DATA "the frame has a length and no data"
#define BAD_TRAILER "the frame does not end with a newline"
#define BAD_CODE "an answer that does not begin with a code of three digits"

struct event {
    enum weir_relp_event event;
    size_t end; // where it ended in the stream
    const char *reason;
    uint32_t number, code, data_bytes;
    char command[WEIR_RELP_COMMAND_BYTES_MAX + 1];
    size_t kept_bytes;
    char kept[WEIR_RELP_DATA_BYTES_KEPT];
};

struct feeder {
    struct weir_relp_parser parser;
    const struct event *events; // what must come
    size_t events_count;
    size_t seen;
    size_t at; // in the stream
};

// All events of a stream, up to a violation: at most EVENTS_MAX. After a violation nothing of an
// event but `event`, `end` and `reason` counts.
size_t events_read(const char *text, size_t bytes, struct event *events);

// One chunk, in memory of just its size: the parser says what must come, where it must.
void feeder_init(struct feeder *feeder, const struct event *events, size_t count);
void feed(struct feeder *feeder, const char *bytes, size_t count);

// All that must come has come.
void feed_ended(const struct feeder *feeder);

// In one piece, byte by byte, and in two pieces everywhere; a short one in three.
void feed_in_every_split(const char *text, size_t bytes);

#endif
