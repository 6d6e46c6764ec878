// Output of records: one per line, in as few writes as whole records allow.
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/assert.h"
#include "writer/command.h"

// Worth one write. The buffer has room for a largest record as well, so that each fits when
// flushed; memory nobody writes to costs nothing.
#define GATHER_BYTES ((size_t)256 << 10)
// PIPE_BUF: a pipe that is ready takes this much without blocking.
#define PIPE_WRITE_BYTES 4096
#define PATIENCE_MS 100

int weir_output_init(struct weir_output *output, int fd)
{
    struct stat status;
    *output = (struct weir_output){.fd = fd};
    output->regular = fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    output->capacity = GATHER_BYTES + WEIR_RECORD_BYTES_MAX + 1;
    output->bytes = malloc(output->capacity);
    return output->bytes == NULL ? WEIR_EMEMORY : 0;
}

void weir_output_deinit(struct weir_output *output)
{
    free(output->bytes);
    output->bytes = NULL;
}

void weir_output_record(struct weir_output *output, const unsigned char *record, size_t bytes)
{
    weir_assert(bytes <= WEIR_RECORD_BYTES_MAX);
    if (output->fd < 0) {
        return;
    }
    if (output->filled + bytes + 1 > output->capacity || output->filled > GATHER_BYTES) {
        weir_output_flush(output);
    }
    memcpy(output->bytes + output->filled, record, bytes);
    output->bytes[output->filled + bytes] = '\n';
    output->filled += bytes + 1;
}

// Waits until a pipe or a terminal takes something, so that a signal is not kept waiting for a
// reader who has gone to lunch. Regular files are always ready.
static bool writable_await(struct weir_output *output)
{
    struct pollfd out = {.fd = output->fd, .events = POLLOUT};
    while (!output->regular && poll(&out, 1, PATIENCE_MS) == 0) {
        if (output->patient != NULL && !output->patient(output->context)) {
            output->error = ETIMEDOUT;
            return false;
        }
    }
    return true;
}

void weir_output_flush(struct weir_output *output)
{
    size_t done = 0;
    while (done < output->filled && output->error == 0 && writable_await(output)) {
        size_t left = output->filled - done;
        size_t most = output->regular || left < PIPE_WRITE_BYTES ? left : PIPE_WRITE_BYTES;
        ssize_t count = write(output->fd, output->bytes + done, most);
        if (count >= 0) {
            done += (size_t)count;
        } else if (errno != EINTR && errno != EAGAIN) {
            output->error = errno;
        }
    }
    output->filled = 0;
}
