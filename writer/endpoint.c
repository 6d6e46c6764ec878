// Endpoint: the parser and the formatter, one small grammar read from left to right.
//
// Every refusal names what is wrong first and what would be right second. Blanks and control bytes
// are refused before anything is quoted, so that a sentence carries no terminal's escape codes.
#include "writer/endpoint.h"

#include <stdio.h>
#include <string.h>

#include "runtime/assert.h"

// A DNS name in writing without the dot at its end, and one of its labels (RFC 1035).
#define ENDPOINT_NAME_BYTES_MAX 253
#define ENDPOINT_LABEL_BYTES_MAX 63
// How much of the operator's text a sentence repeats.
#define ENDPOINT_QUOTE_BYTES_MAX 64
#define ENDPOINT_PORT_MAX 65535

_Static_assert(ENDPOINT_NAME_BYTES_MAX + 2 <= WEIR_HOST_BYTES_MAX, "a name, its dot, a terminator");

struct endpoint_scheme {
    const char *prefix;
    bool is_path;
};

// Indexed by enum weir_transport.
static const struct endpoint_scheme endpoint_schemes[] = {
    [WEIR_TRANSPORT_TCP] = {"tcp://", false},
    [WEIR_TRANSPORT_RELP] = {"relp://", false},
    [WEIR_TRANSPORT_UNIX] = {"unix:", true},
    [WEIR_TRANSPORT_UNIX_DGRAM] = {"unix-dgram:", true},
    [WEIR_TRANSPORT_UDP] = {"udp://", false},
};
#define ENDPOINT_SCHEME_COUNT (sizeof(endpoint_schemes) / sizeof(endpoint_schemes[0]))

struct endpoint_why {
    char *text;
    size_t bytes;
};

#define endpoint_refuse(why, ...)                                                                  \
    ((void)snprintf((why).text, (why).bytes, __VA_ARGS__), (int)WEIR_EOPTION)

// The precision of a quote: never the whole of an endless text.
static int endpoint_quote(size_t bytes)
{
    return (int)(bytes < ENDPOINT_QUOTE_BYTES_MAX ? bytes : ENDPOINT_QUOTE_BYTES_MAX);
}

static bool endpoint_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool endpoint_is_hex(char c)
{
    return endpoint_is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool endpoint_is_name_byte(char c)
{
    // The underscore is no host name's in the standard's eyes, but container networks use it.
    return endpoint_is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.';
}

// Four decimal numbers, none with a leading zero, which some resolvers take for octal.
static bool endpoint_is_ipv4(const char *text, size_t bytes)
{
    size_t at = 0;
    for (size_t part = 0; part < 4; part++) {
        if (part > 0) {
            if (at == bytes || text[at] != '.') {
                return false;
            }
            at++;
        }
        size_t first = at;
        unsigned value = 0;
        while (at < bytes && at - first < 3 && endpoint_is_digit(text[at])) {
            value = value * 10 + (unsigned)(text[at] - '0');
            at++;
        }
        if (at == first || value > 255 || (text[first] == '0' && at - first > 1)) {
            return false;
        }
    }
    return at == bytes;
}

// RFC 4291 section 2.2: eight groups; "::" once, for one group or more; the last two may be IPv4.
static bool endpoint_is_ipv6(const char *text, size_t bytes)
{
    size_t groups = 0;
    size_t at = 0;
    bool gap = bytes >= 2 && text[0] == ':' && text[1] == ':';
    if (gap) {
        at = 2;
    }
    while (at < bytes) {
        size_t digits = 0;
        while (at + digits < bytes && endpoint_is_hex(text[at + digits])) {
            digits++;
        }
        if (at + digits < bytes && text[at + digits] == '.') {
            if (!endpoint_is_ipv4(text + at, bytes - at)) {
                return false;
            }
            groups += 2;
            break;
        }
        if (digits == 0 || digits > 4) {
            return false;
        }
        groups++;
        at += digits;
        if (at == bytes) {
            break;
        }
        if (text[at] != ':' || at + 1 == bytes) {
            return false;
        }
        at++;
        if (text[at] == ':') {
            if (gap) {
                return false;
            }
            gap = true;
            at++;
        }
    }
    return gap ? groups <= 7 : groups == 8;
}

// Whether a resolver's classic number reader would take the last label for a number: then the whole
// is meant as an address, and must be one ("10.1" is 10.0.0.1 to it, and to nobody else).
static bool endpoint_is_number(const char *label, size_t bytes)
{
    bool hex = bytes >= 2 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X');
    for (size_t index = hex ? 2 : 0; index < bytes; index++) {
        if (!(hex ? endpoint_is_hex(label[index]) : endpoint_is_digit(label[index]))) {
            return false;
        }
    }
    return true;
}

static int endpoint_check_label(const char *label, size_t bytes, struct endpoint_why why)
{
    if (bytes == 0) {
        return endpoint_refuse(why, "the host name has an empty label: a dot at its beginning or "
                                    "two in a row; write it as in logs.example.com");
    }
    if (bytes > ENDPOINT_LABEL_BYTES_MAX) {
        return endpoint_refuse(why,
                               "the label '%.*s...' of the host name has %zu characters; at "
                               "most %d are allowed between two dots",
                               16, label, bytes, ENDPOINT_LABEL_BYTES_MAX);
    }
    if (label[0] == '-' || label[bytes - 1] == '-') {
        return endpoint_refuse(why,
                               "the label '%.*s' of the host name begins or ends with '-'; it "
                               "must begin and end with a letter or a digit",
                               (int)bytes, label);
    }
    return 0;
}

static int endpoint_check_name(const char *host, size_t bytes, struct endpoint_why why)
{
    for (size_t index = 0; index < bytes; index++) {
        if (endpoint_is_name_byte(host[index])) {
            continue;
        }
        if ((unsigned char)host[index] >= 0x80) {
            return endpoint_refuse(why,
                                   "the host name holds byte 0x%02x, which is not ASCII; "
                                   "write an international name in its xn-- form",
                                   (unsigned)(unsigned char)host[index]);
        }
        return endpoint_refuse(why,
                               "the host '%.*s' holds '%c'; a name has letters, digits, '-', "
                               "'_' and dots, and an IPv6 address stands in brackets",
                               endpoint_quote(bytes), host, host[index]);
    }
    size_t name_bytes = bytes > 1 && host[bytes - 1] == '.' ? bytes - 1 : bytes;
    if (name_bytes > ENDPOINT_NAME_BYTES_MAX) {
        return endpoint_refuse(why, "the host name has %zu characters; at most %d are allowed",
                               name_bytes, ENDPOINT_NAME_BYTES_MAX);
    }
    size_t first = 0;
    for (;;) {
        const char *dot = memchr(host + first, '.', name_bytes - first);
        size_t label_bytes = dot != NULL ? (size_t)(dot - host) - first : name_bytes - first;
        int error = endpoint_check_label(host + first, label_bytes, why);
        if (error != 0) {
            return error;
        }
        if (dot == NULL) {
            break;
        }
        first += label_bytes + 1;
    }
    if (endpoint_is_number(host + first, name_bytes - first) && !endpoint_is_ipv4(host, bytes)) {
        return endpoint_refuse(why,
                               "the host '%.*s' ends in a number but is no IPv4 address; "
                               "write four numbers 0..255 without leading zeros",
                               endpoint_quote(bytes), host);
    }
    return 0;
}

static int endpoint_check_ipv6(const char *host, size_t bytes, struct endpoint_why why)
{
    if (bytes == 0) {
        return endpoint_refuse(why, "the address between the brackets is empty; write it as in "
                                    "[2001:db8::1]:601");
    }
    if (memchr(host, '%', bytes) != NULL) {
        return endpoint_refuse(why,
                               "the address [%.*s] has a zone ('%%'), which is not supported; "
                               "use an address that needs none",
                               endpoint_quote(bytes), host);
    }
    if (!endpoint_is_ipv6(host, bytes)) {
        return endpoint_refuse(why,
                               "'%.*s' is no IPv6 address; write it as in [2001:db8::1]:601, "
                               "and names and IPv4 addresses without brackets",
                               endpoint_quote(bytes), host);
    }
    return 0;
}

static int endpoint_parse_port(uint16_t *port, const char *text, struct endpoint_why why)
{
    size_t bytes = strlen(text);
    size_t digits = 0;
    uint32_t value = 0;
    while (digits < bytes && endpoint_is_digit(text[digits])) {
        // Held at one past the largest, so that no number of digits overflows.
        value = value * 10 + (uint32_t)(text[digits] - '0');
        value = value > ENDPOINT_PORT_MAX ? ENDPOINT_PORT_MAX + 1 : value;
        digits++;
    }
    if (bytes == 0) {
        return endpoint_refuse(why, "the port after ':' is missing; write 1..65535, as in :601");
    }
    if (digits == 0) {
        return endpoint_refuse(why, "the port '%.*s' is not a number; write 1..65535, as in :601",
                               endpoint_quote(bytes), text);
    }
    if (digits < bytes) {
        return endpoint_refuse(why, "'%.*s' follows the port, which must be the last thing",
                               endpoint_quote(bytes - digits), text + digits);
    }
    if (text[0] == '0' && digits > 1) {
        return endpoint_refuse(why, "the port '%.*s' begins with a zero; write 1..65535 without",
                               endpoint_quote(bytes), text);
    }
    if (value == 0 || value > ENDPOINT_PORT_MAX) {
        return endpoint_refuse(why, "the port %.*s is out of range; write 1..65535",
                               endpoint_quote(bytes), text);
    }
    *port = (uint16_t)value;
    return 0;
}

static int endpoint_parse_inet(struct weir_endpoint *out, const char *text, struct endpoint_why why)
{
    bool brackets = text[0] == '[';
    const char *host = brackets ? text + 1 : text;
    const char *end = memchr(host, brackets ? ']' : ':', strlen(host));
    if (end == NULL && brackets) {
        return endpoint_refuse(why, "the ']' that closes the IPv6 address is missing; write it as "
                                    "in [2001:db8::1]:601");
    }
    size_t host_bytes = end != NULL ? (size_t)(end - host) : strlen(host);
    if (!brackets && end != NULL && memchr(end + 1, ':', strlen(end + 1)) != NULL) {
        return endpoint_refuse(why,
                               "'%.*s' has more than one ':'; an IPv6 address stands in "
                               "brackets, as in [2001:db8::1]:601, and the port comes last",
                               endpoint_quote(strlen(host)), host);
    }
    if (!brackets && host_bytes == 0) {
        return endpoint_refuse(why, "the host is empty; write a name or an address, as in "
                                    "127.0.0.1:601 or [::1]:601");
    }
    int error = brackets ? endpoint_check_ipv6(host, host_bytes, why)
                         : endpoint_check_name(host, host_bytes, why);
    if (error != 0) {
        return error;
    }
    const char *rest = host + host_bytes + (brackets ? 1 : 0);
    if (rest[0] == '\0') {
        return endpoint_refuse(why,
                               "the port is missing after '%.*s'; there is no default, write "
                               "it as in :601",
                               endpoint_quote(host_bytes), host);
    }
    if (rest[0] != ':') {
        return endpoint_refuse(why,
                               "'%.*s' follows the bracket; after it comes the port, as in "
                               "]:601",
                               endpoint_quote(strlen(rest)), rest);
    }
    weir_assert(host_bytes < sizeof(out->host));
    memcpy(out->host, host, host_bytes);
    return endpoint_parse_port(&out->port, rest + 1, why);
}

static int endpoint_parse_path(struct weir_endpoint *out, const char *path, struct endpoint_why why)
{
    size_t bytes = strlen(path);
    if (bytes == 0 || (bytes == 1 && path[0] == '@')) {
        return endpoint_refuse(why, "the path is empty; write an absolute one, as in "
                                    "unix:/run/log.sock, or @name for an abstract socket");
    }
    if (path[0] != '/' && path[0] != '@') {
        return endpoint_refuse(why,
                               "the path '%.*s' is relative; write it from the root, as in "
                               "unix:/run/log.sock",
                               endpoint_quote(bytes), path);
    }
    if (path[0] == '/' && path[1] == '/') {
        return endpoint_refuse(why,
                               "the path '%.*s' begins with two slashes; a Unix socket is "
                               "written with one, as in unix:/run/log.sock",
                               endpoint_quote(bytes), path);
    }
    if (path[0] == '/' && path[bytes - 1] == '/') {
        return endpoint_refuse(why,
                               "the path '%.*s' ends with a slash, so it names a directory; "
                               "write the socket's own name",
                               endpoint_quote(bytes), path);
    }
    if (bytes >= sizeof(out->path)) {
        return endpoint_refuse(why, "the path has %zu bytes; the system takes at most %zu", bytes,
                               sizeof(out->path) - 1);
    }
    memcpy(out->path, path, bytes);
    return 0;
}

int weir_endpoint_parse(struct weir_endpoint *out, const char *text, char *why, size_t why_bytes)
{
    weir_assert(out != NULL && text != NULL);
    weir_assert(why != NULL || why_bytes == 0);
    struct endpoint_why refusal = {why, why_bytes};
    size_t bytes = strlen(text);
    for (size_t index = 0; index < bytes; index++) {
        unsigned char byte = (unsigned char)text[index];
        if (byte <= ' ' || byte == 0x7f) {
            return endpoint_refuse(refusal,
                                   "character %zu is a blank or a control character (byte "
                                   "0x%02x); an endpoint has none",
                                   index + 1, (unsigned)byte);
        }
    }
    for (size_t index = 0; index < ENDPOINT_SCHEME_COUNT; index++) {
        const struct endpoint_scheme *scheme = &endpoint_schemes[index];
        size_t prefix_bytes = strlen(scheme->prefix);
        if (strncmp(text, scheme->prefix, prefix_bytes) != 0) {
            continue;
        }
        struct weir_endpoint parsed;
        memset(&parsed, 0, sizeof(parsed));
        parsed.transport = (enum weir_transport)index;
        int error = scheme->is_path ? endpoint_parse_path(&parsed, text + prefix_bytes, refusal)
                                    : endpoint_parse_inet(&parsed, text + prefix_bytes, refusal);
        if (error == 0) {
            memcpy(out, &parsed, sizeof(parsed));
            if (why_bytes > 0) {
                why[0] = '\0';
            }
        }
        return error;
    }
    return endpoint_refuse(refusal,
                           "'%.*s' begins with no known scheme; write tcp://host:port, "
                           "relp://host:port, udp://host:port, unix:/path or unix-dgram:/path",
                           endpoint_quote(bytes), text);
}

size_t weir_endpoint_format(const struct weir_endpoint *endpoint, char *out, size_t out_bytes)
{
    weir_assert(endpoint != NULL && (out != NULL || out_bytes == 0));
    weir_assert((size_t)endpoint->transport < ENDPOINT_SCHEME_COUNT);
    const struct endpoint_scheme *scheme = &endpoint_schemes[endpoint->transport];
    if (scheme->is_path) {
        weir_assert(memchr(endpoint->path, 0, sizeof(endpoint->path)) != NULL);
        return (size_t)snprintf(out, out_bytes, "%s%s", scheme->prefix, endpoint->path);
    }
    weir_assert(memchr(endpoint->host, 0, sizeof(endpoint->host)) != NULL);
    bool brackets = memchr(endpoint->host, ':', strlen(endpoint->host)) != NULL;
    return (size_t)snprintf(out, out_bytes, "%s%s%s%s:%u", scheme->prefix, brackets ? "[" : "",
                            endpoint->host, brackets ? "]" : "", (unsigned)endpoint->port);
}

bool weir_transport_is_stream(enum weir_transport transport)
{
    weir_assert((size_t)transport < ENDPOINT_SCHEME_COUNT);
    return weir_transport_is_tcp(transport) || transport == WEIR_TRANSPORT_UNIX;
}

bool weir_transport_is_tcp(enum weir_transport transport)
{
    weir_assert((size_t)transport < ENDPOINT_SCHEME_COUNT);
    return transport == WEIR_TRANSPORT_TCP || transport == WEIR_TRANSPORT_RELP;
}
