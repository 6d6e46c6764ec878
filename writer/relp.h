// RELP as its clients speak it: what a server's bytes mean, and what goes around messages.
//
//   frame    NUMBER ' ' COMMAND ' ' LENGTH [' ' DATA] '\n'     no DATA, and no blank, at LENGTH 0
//   NUMBER   up to nine digits: 1..999999999, then 1 again; 0: a hint, which nobody answers
//   COMMAND  up to 32 letters
//
// The client opens, sends `syslog` frames without waiting for each, up to a window of its own
// choice, and closes. The server answers each with `rsp`, data "200 OK" or another code and a text.
// A message's frame is put around it when it is logged, with nine digits for a number that is
// written when the frame is sent, because it changes when the frame is sent again; the grammar
// allows zeros in front. Version 0 is what librelp speaks, whatever its document says.
//
// A session's first frame, open, has number 1, and each frame the number after the one before it:
// librelp's servers end a session in which a number is missing or comes twice (measured, 1.11).
//
// Pure: values in, values out.
#ifndef WEIR_WRITER_RELP_H
#define WEIR_WRITER_RELP_H

#include "runtime/cold.h"
#include "weir.h"
#include "writer/limits.h"

#define WEIR_RELP_NUMBER_BYTES 9
#define WEIR_RELP_NUMBER_MAX 999999999u
#define WEIR_RELP_COMMAND_BYTES_MAX 32
// Of a frame's data so much is kept, terminated; what follows is counted and forgotten.
#define WEIR_RELP_DATA_BYTES_KEPT 512
// A server says little: a longer frame is a violation.
#define WEIR_RELP_DATA_BYTES_MAX (128u * 1024)
// Holds each of the frames written below.
#define WEIR_RELP_FRAME_BYTES_MAX 96

// ---- Numbers and frames of the client ----

// The number after `number`, which is 0 before the first.
uint32_t weir_relp_number_next(uint32_t number);
// Writes a number in its nine digits, no terminator.
void weir_relp_number_write(unsigned char *to, uint32_t number);

// Write the frames that begin and end a session; `to` has WEIR_RELP_FRAME_BYTES_MAX bytes.
//   returns  their length.
WEIR_COLD size_t weir_relp_open_write(char *to, uint32_t number);
WEIR_COLD size_t weir_relp_close_write(char *to, uint32_t number);

// ---- What the server says ----

enum weir_relp_event {
    WEIR_RELP_NOTHING,  // all bytes are used, and no frame has ended
    WEIR_RELP_ANSWER,   // `rsp` with a number above 0
    WEIR_RELP_CLOSE,    // the hint `serverclose`: nothing more will be answered
    WEIR_RELP_HINT,     // another hint, which means nothing to us
    WEIR_RELP_VIOLATION // not RELP, or not what a server may say; see weir_relp_reason
};

// All-zero is valid: at the start of a stream. Private but for what a frame just ended has left:
struct weir_relp_parser {
    uint32_t number;
    uint32_t code; // of an answer: the three digits its data begins with; 0: its data is empty
    uint32_t data_bytes;
    char command[WEIR_RELP_COMMAND_BYTES_MAX + 1];
    char data[WEIR_RELP_DATA_BYTES_KEPT + 1]; // terminated; may hold zeros and anything else
    // Private.
    uint32_t state;
    uint32_t count;
    const char *reason;
};

// Reads bytes up to the end of a frame, a violation, or the last byte. After a violation every
// further call is one, with the same reason, and uses nothing.
//   returns  what ended; *used is how many bytes it took (of a violation: the wrong one included).
enum weir_relp_event weir_relp_parse(struct weir_relp_parser *parser, const unsigned char *bytes,
                                     size_t bytes_count, size_t *used);
// What was wrong, in a few words, constant; NULL: nothing.
WEIR_COLD const char *weir_relp_reason(const struct weir_relp_parser *parser);
// Whether the answer just read agrees to what weir_relp_open_write offers: 200, version 0, syslog.
//   returns  NULL; or why not, in a few words, constant.
WEIR_COLD const char *weir_relp_open_refused(const struct weir_relp_parser *parser);

// ---- Messages without an answer ----

enum weir_relp_answer { WEIR_RELP_WAITING, WEIR_RELP_ACCEPTED, WEIR_RELP_REFUSED };

// Frames that were given a number and whose answers have not all come, in the order of sending. All
// private.
struct weir_relp_window {
    uint32_t first_number; // of the oldest
    uint32_t first, count; // in `answers`, a ring
    uint8_t answers[WEIR_WINDOW_MESSAGES_MAX];
};

// Empty; the next frame has the number after `number`.
WEIR_COLD void weir_relp_window_init(struct weir_relp_window *window, uint32_t number);
// Adds a frame at the end; there must be room.
//   returns  its number.
uint32_t weir_relp_window_add(struct weir_relp_window *window);
// Notes an answer. They may come in any order.
//   returns  false: no frame of that number waits for one (never sent, or answered already).
WEIR_MUST_USE bool weir_relp_window_answer(struct weir_relp_window *window, uint32_t number,
                                           bool accepted);
// What is known of the oldest; WAITING when the window is empty.
enum weir_relp_answer weir_relp_window_oldest(const struct weir_relp_window *window);
// The number that the next frame will have.
uint32_t weir_relp_window_next(const struct weir_relp_window *window);
// Removes the oldest, which was answered.
void weir_relp_window_pop(struct weir_relp_window *window);

#endif
