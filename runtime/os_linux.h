// What the parts of the Linux backend share: os_linux.c, os_linux_poller.c, os_linux_socket.c.
#ifndef WEIR_RUNTIME_OS_LINUX_H
#define WEIR_RUNTIME_OS_LINUX_H

#include <errno.h>
#include <time.h>

#include "runtime/assert.h"
#include "runtime/cold.h"
#include "runtime/os.h"

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

static inline int errno_unless(int result)
{
    return result < 0 ? -errno : result;
}

static inline struct timespec timespec_of(uint64_t time_ns)
{
    return (struct timespec){.tv_sec = (time_t)(time_ns / NS_PER_S),
                             .tv_nsec = (long)(time_ns % NS_PER_S)};
}

// Each fills in its functions. The poller's also sets `self`.
WEIR_COLD void weir_os_linux_fill_poller(struct weir_os *os);
WEIR_COLD void weir_os_linux_fill_socket(struct weir_os *os);

// poll's and epoll's bits, which are the same, as a set of enum weir_readiness.
uint32_t weir_os_linux_readiness(uint32_t events);

#endif
