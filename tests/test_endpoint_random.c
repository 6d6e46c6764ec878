// Tests of the endpoint with random texts: against the C library, there and back, and damaged.
//
// Damage is refused or read as it is written.
#include "writer/endpoint.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support_random.h"

#define RANDOM_RUNS 20000
#define WHY_BYTES 256

static size_t random_text(uint64_t *random, const char *alphabet, size_t bytes_max, char *out)
{
    size_t bytes = random_below(random, bytes_max + 1);
    for (size_t index = 0; index < bytes; index++) {
        out[index] = alphabet[random_below(random, strlen(alphabet))];
    }
    out[bytes] = '\0';
    return bytes;
}

// Our two address readers agree with the C library's, on texts that are nearly addresses.
static void test_addresses_agree_with_libc(void **state)
{
    (void)state;
    uint64_t random = seed_get();
    int good = 0;
    for (int run = 0; run < RANDOM_RUNS * 10; run++) {
        char host[64], text[100];
        unsigned char bytes[16];
        struct weir_endpoint endpoint;
        bool v6 = run % 2 == 0;
        if (v6 && run % 4 == 0) {
            // groups of one digit, mostly eight of them, with some damage
            size_t at = 0;
            size_t groups = 5 + random_below(&random, 5);
            for (size_t index = 0; index < groups; index++) {
                at += (size_t)snprintf(host + at, sizeof(host) - at, "%s%x", index > 0 ? ":" : "",
                                       (unsigned)random_below(&random, 0x11000));
            }
            if (random_below(&random, 2) == 0) {
                host[random_below(&random, at)] = ":.1"[random_below(&random, 3)];
            }
        } else {
            random_text(&random, v6 ? "1a:::::." : "0125..", v6 ? 12 : 9, host);
        }
        bool expected = inet_pton(v6 ? AF_INET6 : AF_INET, host, bytes) == 1;
        snprintf(text, sizeof(text), v6 ? "tcp://[%s]:1" : "tcp://%s:1", host);
        bool actual = weir_endpoint_parse(&endpoint, text, NULL, 0) == 0;
        if (actual != expected) {
            fail_msg("'%s': the C library says %d", text, expected);
        }
        good += actual ? 1 : 0;
    }
    assert_true(good > RANDOM_RUNS / 100);
}

static void random_host(uint64_t *random, char *out)
{
    unsigned char bytes[16];
    for (size_t index = 0; index < sizeof(bytes); index++) {
        bytes[index] = (unsigned char)(random_below(random, 3) == 0 ? random_next(random) : 0);
    }
    size_t kind = random_below(random, 3);
    if (kind == 0) {
        assert_non_null(inet_ntop(AF_INET, bytes, out, WEIR_HOST_BYTES_MAX));
        return;
    }
    if (kind == 1) {
        assert_non_null(inet_ntop(AF_INET6, bytes, out, WEIR_HOST_BYTES_MAX));
        return;
    }
    size_t at = 0;
    size_t labels = 1 + random_below(random, 4);
    for (size_t index = 0; index < labels; index++) {
        // A letter at each end, so that it is no number and bears no hyphen there.
        out[at++] = (char)('a' + random_below(random, 26));
        char middle[62];
        size_t count = random_text(random, "abcXYZ0189-_", 58, middle);
        memcpy(out + at, middle, count);
        at += count;
        out[at++] = (char)('A' + random_below(random, 26));
        out[at++] = '.';
    }
    // With or without the dot at the end.
    out[random_below(random, 2) == 0 ? at : at - 1] = '\0';
}

static void random_endpoint(uint64_t *random, struct weir_endpoint *endpoint)
{
    memset(endpoint, 0, sizeof(*endpoint));
    endpoint->transport = (enum weir_transport)random_below(random, 5);
    if (endpoint->transport == WEIR_TRANSPORT_TCP || endpoint->transport == WEIR_TRANSPORT_RELP ||
        endpoint->transport == WEIR_TRANSPORT_UDP) {
        random_host(random, endpoint->host);
        endpoint->port = (uint16_t)(1 + random_below(random, 65535));
        return;
    }
    size_t bytes = 2 + random_below(random, WEIR_UNIX_PATH_BYTES_MAX - 2);
    for (size_t index = 0; index < bytes; index++) {
        endpoint->path[index] = (char)('!' + random_below(random, 94));
    }
    endpoint->path[0] = random_below(random, 2) == 0 ? '/' : '@';
    endpoint->path[1] = 'p';
    endpoint->path[bytes - 1] = 'q';
}

static void test_random_round_trips(void **state)
{
    (void)state;
    uint64_t random = seed_get();
    for (int run = 0; run < RANDOM_RUNS; run++) {
        struct weir_endpoint endpoint, again;
        random_endpoint(&random, &endpoint);
        char text[WEIR_ENDPOINT_TEXT_BYTES_MAX], why[WHY_BYTES];
        assert_true(weir_endpoint_format(&endpoint, text, sizeof(text)) < sizeof(text));
        if (weir_endpoint_parse(&again, text, why, sizeof(why)) != 0) {
            fail_msg("'%s' was refused: %s", text, why);
        }
        assert_memory_equal(&endpoint, &again, sizeof(endpoint));
    }
}

// A text with one byte changed, left out or put in is refused, or read so that it writes the same.
static void test_random_damage(void **state)
{
    (void)state;
    uint64_t random = seed_get();
    int refused = 0;
    for (int run = 0; run < RANDOM_RUNS; run++) {
        struct weir_endpoint endpoint;
        random_endpoint(&random, &endpoint);
        char text[WEIR_ENDPOINT_TEXT_BYTES_MAX + 1], out[WEIR_ENDPOINT_TEXT_BYTES_MAX + 1];
        size_t bytes = weir_endpoint_format(&endpoint, text, sizeof(text));
        size_t at = random_below(&random, bytes);
        switch (random_below(&random, 3)) {
        case 0: text[at] = (char)(1 + random_below(&random, 255)); break;
        case 1: memmove(text + at, text + at + 1, bytes - at); break;
        default:
            memmove(text + at + 1, text + at, bytes - at + 1);
            text[at] = ":/[]@.0 "[random_below(&random, 8)];
            break;
        }
        char why[WHY_BYTES];
        if (weir_endpoint_parse(&endpoint, text, why, sizeof(why)) != 0) {
            assert_true(strlen(why) > 20);
            refused++;
            continue;
        }
        assert_int_equal(weir_endpoint_format(&endpoint, out, sizeof(out)), strlen(text));
        assert_string_equal(out, text);
    }
    assert_true(refused > RANDOM_RUNS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_agree_with_libc),
        cmocka_unit_test(test_random_round_trips),
        cmocka_unit_test(test_random_damage),
    };
    return cmocka_run_group_tests_name("endpoint_random", tests, NULL, NULL);
}
