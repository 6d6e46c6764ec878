// The message of a failed assertion, on Linux.
//
// In a file of its own: a program that defines weir_assert_failed itself, such as a simulator that
// adds its seed, is linked with its own, and never with this one.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/assert.h"

void weir_assert_failed(const char *condition, const char *file, int line)
{
    char text[512];
    int wanted =
        snprintf(text, sizeof text, "weir: assertion failed: %s (%s:%d)\n", condition, file, line);
    size_t bytes = wanted < 0 ? 0 : (size_t)wanted;
    if (bytes >= sizeof text) {
        bytes = sizeof text - 1;
        text[bytes - 1] = '\n';
    }
    // One write, so that the lines of several threads do not mix. If it fails nobody can be told.
    ssize_t written = write(STDERR_FILENO, text, bytes);
    (void)written;
    abort();
}
