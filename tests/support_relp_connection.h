// One connection of the scripted RELP server: what the client said, and what its plan answers.
#ifndef WEIR_TESTS_SUPPORT_RELP_CONNECTION_H
#define WEIR_TESTS_SUPPORT_RELP_CONNECTION_H

#include "tests/support_relp.h"

enum stage {
    STAGE_FRESH,   // `open` has not come
    STAGE_OPENING, // it waits for its answer
    STAGE_OPEN,
    STAGE_CLOSING, // `close` has come
    STAGE_MUTE,    // its plan has ended it: reads on, answers nothing
    STAGE_OVER     // what is to be sent is sent, and then it is closed
};

struct bytes {
    unsigned char *at;
    size_t count, max;
};

struct connection {
    int fd; // -1: closed
    const struct relp_plan *plan;
    enum stage stage;
    bool then_done, reset_wanted;
    struct bytes in, out;
    size_t out_sent;
    uint64_t due_ns;   // a late answer's
    uint64_t heard_ns; // when the last message came
    struct relp_frame *frames;
    size_t frames_max, answered; // frames before this one had their turn
    size_t unanswered_bytes;
    uint32_t next_number;
    struct relp_view view;
};

// Reads, answers and writes what it can without waiting, as its plan has it. Of a gated plan no
// more than `allowed` messages are answered, and those are taken off.
//   returns  whether another round could bring more.
bool relp_connection_round(struct connection *one, uint64_t *allowed);

// Whether it has something to do that no descriptor tells of; or is not to be read.
bool relp_connection_is_timed(const struct connection *one);

void relp_connection_close(struct connection *one, bool reset);
void relp_connection_free(struct connection *one);

#endif
