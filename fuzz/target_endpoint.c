// Fuzz target endpoint: an operator's text as an endpoint, and back.
//
// The input is the text. What the parser takes must format to a text that parses to the same; what
// it refuses leaves everything as it was. Of addresses the C library's own reader is asked, too.
#include "fuzz/fuzz.h"

#include <arpa/inet.h>
#include <string.h>

#include "writer/endpoint.h"

#define WHY_BYTES 256
#define UNTOUCHED 0x5a

// Every field of one that was accepted, as the header promises it.
static void endpoint_check(const struct weir_endpoint *endpoint, const char *text)
{
    bool is_path = endpoint->transport == WEIR_TRANSPORT_UNIX ||
                   endpoint->transport == WEIR_TRANSPORT_UNIX_DGRAM;
    size_t host_bytes = strnlen(endpoint->host, sizeof(endpoint->host));
    size_t path_bytes = strnlen(endpoint->path, sizeof(endpoint->path));
    fuzz_require(host_bytes < sizeof(endpoint->host) && path_bytes < sizeof(endpoint->path));
    for (size_t i = host_bytes; i < sizeof(endpoint->host); i++) {
        fuzz_require(endpoint->host[i] == '\0');
    }
    for (size_t i = path_bytes; i < sizeof(endpoint->path); i++) {
        fuzz_require(endpoint->path[i] == '\0');
    }
    if (is_path) {
        fuzz_require(endpoint->port == 0 && host_bytes == 0 && path_bytes > 1);
        fuzz_require(endpoint->path[0] == '/' || endpoint->path[0] == '@');
        fuzz_require(strcmp(strchr(text, ':') + 1, endpoint->path) == 0);
    } else {
        unsigned char address[16];
        fuzz_require(endpoint->port > 0 && host_bytes > 0 && path_bytes == 0);
        if (strchr(endpoint->host, ':') != NULL) {
            fuzz_require(inet_pton(AF_INET6, endpoint->host, address) == 1);
        } else if (strspn(endpoint->host, "0123456789.") == host_bytes) {
            fuzz_require(inet_pton(AF_INET, endpoint->host, address) == 1);
        }
    }
    bool tcp =
        endpoint->transport == WEIR_TRANSPORT_TCP || endpoint->transport == WEIR_TRANSPORT_RELP;
    fuzz_require(weir_transport_is_tcp(endpoint->transport) == tcp);
    fuzz_require(weir_transport_is_stream(endpoint->transport) ==
                 (tcp || endpoint->transport == WEIR_TRANSPORT_UNIX));
}

// Formatting says how long the text is, whatever room it gets, and never writes past that.
static void format_check(const struct weir_endpoint *endpoint, const char *text)
{
    char whole[WEIR_ENDPOINT_TEXT_BYTES_MAX];
    size_t bytes = weir_endpoint_format(endpoint, whole, sizeof(whole));
    fuzz_require(bytes < sizeof(whole) && strlen(whole) == bytes);
    fuzz_require(weir_endpoint_format(endpoint, NULL, 0) == bytes);
    // There is one way to write each, so what was accepted was written so.
    fuzz_require(strcmp(whole, text) == 0);
    size_t room = bytes / 2 + 1;
    char *cut = malloc(room);
    fuzz_require(cut != NULL);
    fuzz_require(weir_endpoint_format(endpoint, cut, room) == bytes);
    fuzz_require(strlen(cut) == room - 1 && memcmp(cut, whole, room - 1) == 0);
    free(cut);
    struct weir_endpoint again;
    memset(&again, UNTOUCHED, sizeof(again));
    fuzz_require(weir_endpoint_parse(&again, whole, NULL, 0) == 0);
    fuzz_require(memcmp(&again, endpoint, sizeof(again)) == 0);
}

// "tcp://[ADDRESS]:601", if the text is one: then it is for the C library to say whether it is
// right.
static bool is_right_ipv6(const char *text)
{
    static const char head[] = "tcp://[";
    static const char tail[] = "]:601";
    char host[64];
    unsigned char address[16];
    size_t bytes = strlen(text);
    size_t around = sizeof(head) - 1 + sizeof(tail) - 1;
    if (bytes < around || bytes - around >= sizeof(host) ||
        memcmp(text, head, sizeof(head) - 1) != 0 ||
        strcmp(text + bytes - (sizeof(tail) - 1), tail) != 0) {
        return false;
    }
    memcpy(host, text + sizeof(head) - 1, bytes - around);
    host[bytes - around] = '\0';
    return inet_pton(AF_INET6, host, address) == 1;
}

static void refusal_check(const struct weir_endpoint *endpoint, const char *text, const char *why)
{
    struct weir_endpoint untouched;
    memset(&untouched, UNTOUCHED, sizeof(untouched));
    fuzz_require(memcmp(endpoint, &untouched, sizeof(untouched)) == 0);
    fuzz_require(memchr(why, '\0', WHY_BYTES) != NULL && why[0] != '\0');
    // The longest sentence has room; and none carries what a terminal would obey.
    fuzz_require(strlen(why) < WHY_BYTES - 1);
    for (const char *at = why; *at != '\0'; at++) {
        fuzz_require((unsigned char)*at >= ' ' && *at != 0x7f);
    }
    // Without room for it the answer is the same.
    char little[8];
    fuzz_require(weir_endpoint_parse(&untouched, text, little, sizeof(little)) == WEIR_EOPTION);
    fuzz_require(strlen(little) == sizeof(little) - 1);
    fuzz_require(weir_endpoint_parse(&untouched, text, NULL, 0) == WEIR_EOPTION);
    fuzz_require(!is_right_ipv6(text));
}

void fuzz_one(const unsigned char *bytes, size_t count)
{
    char *text = malloc(count + 1);
    char *why = malloc(WHY_BYTES);
    struct weir_endpoint endpoint;
    fuzz_require(text != NULL && why != NULL);
    memcpy(text, bytes, count);
    text[count] = '\0';
    memset(&endpoint, UNTOUCHED, sizeof(endpoint));
    memset(why, 'w', WHY_BYTES);
    int error = weir_endpoint_parse(&endpoint, text, why, WHY_BYTES);
    if (error == 0) {
        fuzz_require(why[0] == '\0');
        endpoint_check(&endpoint, text);
        format_check(&endpoint, text);
    } else {
        fuzz_require(error == WEIR_EOPTION);
        refusal_check(&endpoint, text, why);
    }
    free(why);
    free(text);
}
