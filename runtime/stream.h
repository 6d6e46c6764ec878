// What the socket futures share.
#ifndef WEIR_RUNTIME_STREAM_H
#define WEIR_RUNTIME_STREAM_H

#include "weir.h"

// Repetitions of one call that a signal interrupted. A nonblocking call is as good as never
// interrupted; more than this in a row is a broken system, reported as -EINTR.
#define WEIR_INTERRUPTS_MAX 16

// The address family (AF_...) that an address begins with.
int weir_address_family(const struct weir_address *address);

#endif
