// Endpoint: where a writer connects to, as text an operator writes and as values the code uses.
//
//   tcp://host:port   relp://host:port  udp://host:port   ... or [v6]:port
//   unix:/path        unix-dgram:/path  unix:@name        (@ = the abstract namespace of Linux)
//
// Strict on purpose: a mistyped endpoint is refused at opening with a sentence, not found at three
// in the morning as a name that does not resolve. No default port, no case folding, no %-escapes.
// Pure: no look-up, no I/O; whether the name exists is for the dial to find out.
#ifndef WEIR_WRITER_ENDPOINT_H
#define WEIR_WRITER_ENDPOINT_H

#include "runtime/cold.h"
#include "runtime/limits.h"
#include "weir.h"

// sizeof(sun_path): 107 bytes and the terminator.
#define WEIR_UNIX_PATH_BYTES_MAX 108
// Holds any endpoint in writing with its terminator: "relp://" "[" host "]" ":65535".
#define WEIR_ENDPOINT_TEXT_BYTES_MAX (7 + 1 + WEIR_HOST_BYTES_MAX + 1 + 6)

enum weir_transport {
    WEIR_TRANSPORT_TCP,
    WEIR_TRANSPORT_RELP, // over TCP
    WEIR_TRANSPORT_UNIX,
    WEIR_TRANSPORT_UNIX_DGRAM,
    WEIR_TRANSPORT_UDP
};

// Values only, so that it can lie in a mapped file. A parsed one has every unused byte zero:
// two endpoints are the same exactly when memcmp says so.
struct weir_endpoint {
    enum weir_transport transport;
    uint16_t port;                       // 1..65535; 0 for the Unix transports
    char host[WEIR_HOST_BYTES_MAX];      // name or numeric address without brackets; or empty
    char path[WEIR_UNIX_PATH_BYTES_MAX]; // '/' first: a file; '@' first: abstract; or empty
};

// Reads one endpoint.
//   memory   `out` is written only on success; `why` (may be NULL when why_bytes is 0) receives a
//            terminated sentence on failure and "" on success; 256 bytes hold every one of them.
//   returns  0; WEIR_EOPTION: malformed, and `why` says what is wrong and what would be right.
//   threads  any.
WEIR_COLD WEIR_MUST_USE int weir_endpoint_parse(struct weir_endpoint *out, const char *text,
                                                char *why, size_t why_bytes);

// Writes the canonical text; parsing it gives the same endpoint back.
//   memory   `out` is always terminated when out_bytes > 0 (may be NULL when it is 0).
//   returns  the length of the whole text without terminator, as snprintf does: it was cut when
//            this is >= out_bytes. Always < WEIR_ENDPOINT_TEXT_BYTES_MAX.
//   threads  any.
WEIR_COLD size_t weir_endpoint_format(const struct weir_endpoint *endpoint, char *out,
                                      size_t out_bytes);

// Whether what is sent over it is one stream, in which messages need a frame, or datagrams.
bool weir_transport_is_stream(enum weir_transport transport);
bool weir_transport_is_tcp(enum weir_transport transport);

#endif
