// Messages that can be told apart: every byte follows from producer, sequence and length.
//
//     m PP SSSSSS LLLLL CCCCCC :  filler       (hexadecimal, without the blanks)
//
// C is a checksum of the other three. The filler is printable; a message that begins with 'n' has a
// newline in every sixteenth place, for the policies that framing has for them.
#ifndef WEIR_SIM_MESSAGE_H
#define WEIR_SIM_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_MESSAGE_BYTES_MIN 21
#define SIM_MESSAGE_BYTES_MAX 0xfffff
#define SIM_MESSAGE_PRODUCERS_MAX 256
#define SIM_MESSAGE_SEQUENCES_MAX (1u << 24)

struct sim_message {
    uint32_t producer;
    uint32_t sequence;
    uint32_t bytes; // SIM_MESSAGE_BYTES_MIN or more
    bool newlines;
};

// Writes message->bytes bytes.
void sim_message_write(const struct sim_message *message, unsigned char *to);

// Reads what a message begins with; `count` may be all of it or less.
//   returns  false: it is no message's beginning, or shorter than SIM_MESSAGE_BYTES_MIN.
bool sim_message_head(const unsigned char *bytes, size_t count, struct sim_message *message);

enum sim_message_check {
    SIM_MESSAGE_GOOD,
    SIM_MESSAGE_TORN,   // the beginning of a message, and then it stops
    SIM_MESSAGE_CORRUPT // anything else
};
// Compares with what was to be written. `escaped`: each newline arrives as \ and n.
enum sim_message_check sim_message_check(const unsigned char *bytes, size_t count, bool escaped,
                                         struct sim_message *message);

#endif
