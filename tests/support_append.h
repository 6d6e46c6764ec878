// Puts a message into a writer's row, as a logging thread does that does not wait.
#ifndef TESTS_SUPPORT_APPEND_H
#define TESTS_SUPPORT_APPEND_H

#include "writer/append.h"

// returns  0 or the error of what refused it.
static inline int append_parts(struct weir_writer *writer, uint8_t severity,
                               const struct weir_iovec *parts, size_t parts_count)
{
    struct weir_reservation reservation;
    size_t frame_bytes;
    int error = weir_append_measure(writer, severity, parts, parts_count, &frame_bytes);
    if (error == 0) {
        error = weir_append_reserve(writer, frame_bytes, &reservation);
    }
    if (error == 0) {
        weir_append_put(writer, severity, parts, parts_count, &reservation);
    }
    return error;
}

#endif
