// What the socket futures share.
#ifndef WEIR_RUNTIME_STREAM_H
#define WEIR_RUNTIME_STREAM_H

#include "weir.h"

// The address family (AF_...) that an address begins with.
int weir_address_family(const struct weir_address *address);

#endif
