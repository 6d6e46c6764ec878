// An address of this machine that is this process's own.
//
// All of 127.0.0.0/8 is. Suites run at the same time, and a port that one of them gives up for a
// while may be another's next one: on an address that they shared, its messages would go there.
#ifndef WEIR_TEST_LOOPBACK_H
#define WEIR_TEST_LOOPBACK_H

#include <stdint.h>
#include <unistd.h>

// In the host's byte order; follows from the process id, of 22 bits at most, and ends in 1 to 128.
static inline uint32_t test_loopback(void)
{
    uint32_t id = (uint32_t)getpid();
    return UINT32_C(127) << 24 | (id >> 7 & 0xffff) << 8 | ((id & 0x7f) + 1);
}

#endif
