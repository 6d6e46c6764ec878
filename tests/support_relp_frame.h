// Reads the frames of a RELP client, as the scripted server of support_relp.h does.
//
// Written apart from writer/relp.c, so that the two cannot share a mistake. Stricter than the
// grammar: a blank stands before data and nowhere else.
#ifndef WEIR_TESTS_SUPPORT_RELP_FRAME_H
#define WEIR_TESTS_SUPPORT_RELP_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Points into the bytes it was found in.
struct relp_found {
    uint32_t number;
    const char *command;
    size_t command_bytes, data_bytes, frame_bytes;
    const unsigned char *data;
};

// Looks for a frame at the beginning.
//   returns  NULL: it is the first found->frame_bytes bytes, 0: it has not all come; or what is
//            wrong.
const char *relp_frame_find(const unsigned char *bytes, size_t count, struct relp_found *found);
bool relp_frame_is(const struct relp_found *found, const char *command);

#endif
