// RELP frames of either side, for collectors and the auditor: written from librelp's document.
//
//     NUMBER SP COMMAND SP LENGTH [SP DATA] LF       neither SP nor DATA where LENGTH is 0
//
// NUMBER and LENGTH have one to nine digits, COMMAND one to 32 letters. Who may say what, and in
// which order, is for those who ask.
#ifndef WEIR_SIM_RELP_FRAME_H
#define WEIR_SIM_RELP_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_RELP_COMMAND_BYTES_MAX 32
#define SIM_RELP_NUMBER_MAX 999999999u

enum sim_relp_stage {
    SIM_RELP_NUMBER,
    SIM_RELP_COMMAND,
    SIM_RELP_LENGTH,
    SIM_RELP_DATA,
    SIM_RELP_LF
};

struct sim_relp_frame {
    enum sim_relp_stage stage;
    uint32_t digits;
    uint32_t number;
    uint32_t length; // of the data
    uint32_t count;  // bytes of the data so far
    uint32_t command_bytes;
    char command[SIM_RELP_COMMAND_BYTES_MAX + 1];
    // The caller's: of the data so much is kept, and more than length_max is no frame.
    unsigned char *bytes; // NULL: nothing is kept
    uint32_t bytes_max;
    uint32_t length_max;
};

enum sim_relp_result {
    SIM_RELP_MORE,  // all bytes were used, and the frame is not complete
    SIM_RELP_WHOLE, // sim_relp_frame_next before feeding on
    SIM_RELP_BAD
};

void sim_relp_frame_init(struct sim_relp_frame *frame, unsigned char *bytes, uint32_t bytes_max,
                         uint32_t length_max);
// Takes bytes up to the end of one frame, or up to and with the first wrong one. *used: how many.
enum sim_relp_result sim_relp_frame_feed(struct sim_relp_frame *frame, const unsigned char *bytes,
                                         size_t count, size_t *used);
void sim_relp_frame_next(struct sim_relp_frame *frame);
// Whether the stream stands in the middle of a frame.
bool sim_relp_frame_inside(const struct sim_relp_frame *frame);
// Whether the command is known, and this one.
bool sim_relp_frame_is(const struct sim_relp_frame *frame, const char *command);
// The code that an answer's data begins with; 0: none. Three bytes must have been kept.
uint32_t sim_relp_frame_code(const struct sim_relp_frame *frame);

#endif
