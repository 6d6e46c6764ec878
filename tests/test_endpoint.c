// Tests of the endpoint: tables of good and bad texts.
//
// What is accepted must come back from the formatter.
#include "writer/endpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define WHY_BYTES 256

// `text` with each '#' replaced by `count` times 'x', in a static buffer.
static const char *grown(const char *text, size_t count)
{
    static char buffer[1024];
    size_t at = 0;
    for (; *text != '\0'; text++) {
        size_t times = *text == '#' ? count : 1;
        assert_true(at + times < sizeof(buffer));
        memset(buffer + at, *text == '#' ? 'x' : *text, times);
        at += times;
    }
    buffer[at] = '\0';
    return buffer;
}

// Parses, formats, and wants the text back and every unused byte zero.
static void must_accept(const char *text, enum weir_transport transport, const char *host,
                        uint16_t port, const char *path)
{
    struct weir_endpoint endpoint;
    memset(&endpoint, 0xa5, sizeof(endpoint));
    char why[WHY_BYTES] = "unwritten";
    int error = weir_endpoint_parse(&endpoint, text, why, sizeof(why));
    if (error != 0) {
        fail_msg("'%s' was refused: %s", text, why);
    }
    assert_string_equal(why, "");
    struct weir_endpoint expected;
    memset(&expected, 0, sizeof(expected));
    expected.transport = transport;
    expected.port = port;
    memcpy(expected.host, host, strlen(host));
    memcpy(expected.path, path, strlen(path));
    assert_memory_equal(&endpoint, &expected, sizeof(endpoint));
    char again[WEIR_ENDPOINT_TEXT_BYTES_MAX];
    assert_int_equal(weir_endpoint_format(&endpoint, again, sizeof(again)), strlen(text));
    assert_string_equal(again, text);
}

// Wants a refusal that says `says`, leaves the result alone and fits its buffer whole.
static void must_refuse(const char *text, const char *says)
{
    struct weir_endpoint endpoint, before;
    memset(&endpoint, 0xa5, sizeof(endpoint));
    memset(&before, 0xa5, sizeof(before));
    char why[WHY_BYTES] = "";
    if (weir_endpoint_parse(&endpoint, text, why, sizeof(why)) != WEIR_EOPTION) {
        fail_msg("'%s' was not refused", text);
    }
    if (strstr(why, says) == NULL) {
        fail_msg("'%s' was refused with \"%s\", which does not say \"%s\"", text, why, says);
    }
    assert_true(strlen(why) < WHY_BYTES - 1);
    for (const char *at = why; *at != '\0'; at++) {
        assert_true((unsigned char)*at >= ' ' && *at != 0x7f);
    }
    assert_memory_equal(&endpoint, &before, sizeof(endpoint));
}

static void test_accepts_inet(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        uint16_t port;
    } rows[] = {
        {"localhost", 1},
        {"a", 65535},
        {"collector", 601},
        {"logs.example.com", 10514},
        {"logs.example.com.", 514},
        {"LOGS.Example.Com", 514},
        {"xn--bcher-kva.example", 6514},
        {"my_service", 99},
        {"_srv", 100},
        {"1host", 5},
        {"a-b--c", 9999},
        {"1.2.3.4.example", 10000},
        {"3com.com", 7},
        {"0xyz", 7},
        {"127.0.0.1", 514},
        {"0.0.0.0", 514},
        {"255.255.255.255", 514},
        {"10.100.99.9", 514},
    };
    static const char *const v6[] = {"::1",
                                     "::",
                                     "2001:db8::1",
                                     "1:2:3:4:5:6:7:8",
                                     "fe80::",
                                     "1::8",
                                     "1:2:3:4:5:6:7::",
                                     "::2:3:4:5:6:7:8",
                                     "::ffff:192.0.2.1",
                                     "1:2:3:4:5:6:1.2.3.4",
                                     "ABCD:EF01::ffff",
                                     "1::3:4:5:6:1.2.3.4",
                                     "1111:2222:3333:4444:5555:6666:123.123.123.123"};
    char text[400];
    for (size_t index = 0; index < sizeof(rows) / sizeof(rows[0]); index++) {
        snprintf(text, sizeof(text), "tcp://%s:%u", rows[index].host, (unsigned)rows[index].port);
        must_accept(text, WEIR_TRANSPORT_TCP, rows[index].host, rows[index].port, "");
        snprintf(text, sizeof(text), "udp://%s:%u", rows[index].host, (unsigned)rows[index].port);
        must_accept(text, WEIR_TRANSPORT_UDP, rows[index].host, rows[index].port, "");
        snprintf(text, sizeof(text), "relp://%s:%u", rows[index].host, (unsigned)rows[index].port);
        must_accept(text, WEIR_TRANSPORT_RELP, rows[index].host, rows[index].port, "");
    }
    for (size_t index = 0; index < sizeof(v6) / sizeof(v6[0]); index++) {
        snprintf(text, sizeof(text), "tcp://[%s]:601", v6[index]);
        must_accept(text, WEIR_TRANSPORT_TCP, v6[index], 601, "");
        snprintf(text, sizeof(text), "udp://[%s]:514", v6[index]);
        must_accept(text, WEIR_TRANSPORT_UDP, v6[index], 514, "");
        snprintf(text, sizeof(text), "relp://[%s]:2514", v6[index]);
        must_accept(text, WEIR_TRANSPORT_RELP, v6[index], 2514, "");
    }
}

static void test_accepts_unix(void **state)
{
    (void)state;
    static const char *const paths[] = {"/a", "/run/log.sock", "/dev/log", "/a:601", "/a/b@c",
                                        "@a", "/caf\xc3\xa9",  "@/slash/", "/a//b",  "/[x]"};
    char text[200];
    for (size_t index = 0; index < sizeof(paths) / sizeof(paths[0]); index++) {
        snprintf(text, sizeof(text), "unix:%s", paths[index]);
        must_accept(text, WEIR_TRANSPORT_UNIX, "", 0, paths[index]);
        snprintf(text, sizeof(text), "unix-dgram:%s", paths[index]);
        must_accept(text, WEIR_TRANSPORT_UNIX_DGRAM, "", 0, paths[index]);
    }
}

static void test_lengths(void **state)
{
    (void)state;
    char text[1024];
    // 107 bytes of path with its '/' or '@' fit, 108 do not.
    snprintf(text, sizeof(text), "%s", grown("unix:/#", 106));
    must_accept(text, WEIR_TRANSPORT_UNIX, "", 0, text + 5);
    snprintf(text, sizeof(text), "%s", grown("unix-dgram:@#", 106));
    must_accept(text, WEIR_TRANSPORT_UNIX_DGRAM, "", 0, text + 11);
    must_refuse(grown("unix:/#", 107), "108 bytes");
    must_refuse(grown("unix:@#", 107), "at most 107");
    must_refuse(grown("unix:/#", 500), "501 bytes");
    // Labels of 63, names of 253.
    snprintf(text, sizeof(text), "%s", grown("#", 63));
    char endpoint_text[sizeof(text) + 32];
    snprintf(endpoint_text, sizeof(endpoint_text), "tcp://%s:1", text);
    must_accept(endpoint_text, WEIR_TRANSPORT_TCP, text, 1, "");
    must_refuse(grown("tcp://#:1", 64), "has 64 characters");
    must_refuse(grown("tcp://a.#.b:1", 64), "at most 63");
    snprintf(text, sizeof(text), "%s", grown("#.#.#.", 63)); // 192
    memset(text + 192, 'y', 62);
    text[253] = '\0'; // 253
    snprintf(endpoint_text, sizeof(endpoint_text), "udp://%s:65535", text);
    must_accept(endpoint_text, WEIR_TRANSPORT_UDP, text, 65535, "");
    strcat(text, "."); // the dot at the end does not count
    snprintf(endpoint_text, sizeof(endpoint_text), "udp://%s:65535", text);
    must_accept(endpoint_text, WEIR_TRANSPORT_UDP, text, 65535, "");
    // The longest of all.
    snprintf(endpoint_text, sizeof(endpoint_text), "relp://%s:65535", text);
    must_accept(endpoint_text, WEIR_TRANSPORT_RELP, text, 65535, "");
    text[253] = 'y';
    snprintf(endpoint_text, sizeof(endpoint_text), "udp://%s:65535", text);
    must_refuse(endpoint_text, "254 characters; at most 253");
    must_refuse(grown("#", 900), "no known scheme");
    must_refuse(grown("tcp://a:1#", 900), "follows the port");
    must_refuse(grown("tcp://[::1]#", 900), "follows the bracket");
    must_refuse(grown("tcp://[#]:1", 900), "no IPv6 address");
    must_refuse(grown("tcp://a!#:1", 900), "holds '!'");
    must_refuse(grown("tcp://#:1", 900), "at most 253");
    must_refuse(grown("unix:#", 900), "relative");
    must_refuse(grown("tcp://a:#", 900), "not a number");
}

static const struct {
    const char *text;
    const char *says;
} refusals[] = {
    {"", "no known scheme"},
    {"collector:601", "write tcp://host:port, relp://host:port, udp://host:port, unix:/path or"},
    {"relp:a:80", "no known scheme"},
    {"relp:/a:80", "no known scheme"},
    {"RELP://a:80", "no known scheme"},
    {"relps://a:80", "no known scheme"},
    {"rel://a:80", "no known scheme"},
    {"relp://", "host is empty"},
    {"relp://a", "port is missing"},
    {"relp://a:0", "out of range"},
    {"relp://::1:601", "brackets"},
    {"http://a:80", "no known scheme"},
    {"TCP://a:80", "no known scheme"},
    {"tcp:a:80", "no known scheme"},
    {"tcp:/a:80", "no known scheme"},
    {"tls://a:80", "no known scheme"},
    {"unix", "no known scheme"},
    {"unix-stream:/a", "no known scheme"},
    {"/run/log.sock", "no known scheme"},
    {"xtcp://a:80", "no known scheme"},
    // blanks and control characters, anywhere
    {" tcp://a:1", "character 1 is a blank"},
    {"tcp://a:1 ", "character 10 is a blank"},
    {"tcp://a:1\n", "byte 0x0a"},
    {"tcp://a b:1", "byte 0x20"},
    {"tcp://\ta:1", "byte 0x09"},
    {"tcp://a: 1", "blank"},
    {"unix:/a b", "blank"},
    {"unix:/a\x1b[2J", "byte 0x1b"},
    {"unix:/a\x7f", "byte 0x7f"},
    {"tcp://a:1\x01", "character 10"},
    // hosts
    {"tcp://", "host is empty"},
    {"tcp://:601", "host is empty"},
    {"udp://:601", "host is empty"},
    {"tcp://a", "port is missing"},
    {"tcp://host.example", "after 'host.example'"},
    {"tcp://.:1", "empty label"},
    {"tcp://.a:1", "empty label"},
    {"tcp://a..b:1", "empty label"},
    {"tcp://a..:1", "empty label"},
    {"tcp://-a:1", "'-a' of the host name begins or ends"},
    {"tcp://a-:1", "begins or ends with '-'"},
    {"tcp://b.-:1", "begins or ends with '-'"},
    {"tcp://a.b-.c:1", "'b-'"},
    {"tcp://a/b:1", "holds '/'"},
    {"tcp://user@a:1", "holds '@'"},
    {"tcp://a%b:1", "holds '%'"},
    {"tcp://a]:1", "holds ']'"},
    {"tcp://a[:1", "holds '['"},
    {"tcp://a`:1", "holds '`'"},
    {"tcp://a{:1", "holds '{'"},
    {"tcp://caf\xc3\xa9:1", "xn--"},
    // IPv4
    {"tcp://1:1", "no IPv4 address"},
    {"tcp://1.2.3:1", "no IPv4 address"},
    {"tcp://1.2.3.4.5:1", "no IPv4 address"},
    {"tcp://1.2.3.4.:1", "no IPv4 address"},
    {"tcp://1.2.3.256:1", "no IPv4 address"},
    {"tcp://1.2.3.1000:1", "no IPv4 address"},
    {"tcp://01.2.3.4:1", "leading zeros"},
    {"tcp://1.2.3.00:1", "leading zeros"},
    {"tcp://a.2.3.4:1", "no IPv4 address"},
    {"tcp://1a.2.3.4:1", "no IPv4 address"},
    {"tcp://host.1:1", "no IPv4 address"},
    {"tcp://0x7f000001:1", "no IPv4 address"},
    {"tcp://0X7F.0.0.0XFf:1", "no IPv4 address"},
    {"tcp://0x:1", "no IPv4 address"},
    // IPv6
    {"tcp://[::1:601", "']' that closes"},
    {"tcp://[", "']' that closes"},
    {"tcp://[]:601", "between the brackets is empty"},
    {"tcp://[::1]", "port is missing"},
    {"tcp://[::1]601", "follows the bracket"},
    {"tcp://[::1]]:601", "follows the bracket"},
    {"tcp://[::1] :601", "blank"},
    {"tcp://[::1%eth0]:601", "zone"},
    {"tcp://[localhost]:601", "no IPv6 address"},
    {"tcp://[127.0.0.1]:601", "no IPv6 address"},
    {"tcp://[:]:601", "no IPv6 address"},
    {"tcp://[1]:601", "no IPv6 address"},
    {"tcp://[1:]:601", "no IPv6 address"},
    {"tcp://[:1]:601", "no IPv6 address"},
    {"tcp://[:1:2:3:4:5:6:7]:601", "no IPv6 address"},
    {"tcp://[1:2:3:4:5:6:7:]:601", "no IPv6 address"},
    {"tcp://[1:2:3:4:5:6:7]:601", "no IPv6 address"},
    {"tcp://[1:2:3:4:5:6:7:8:9]:601", "no IPv6 address"},
    {"tcp://[1:2:3:4::5:6:7:8]:601", "no IPv6 address"},
    {"tcp://[1::2::3]:601", "no IPv6 address"},
    {"tcp://[:::]:601", "no IPv6 address"},
    {"tcp://[1:::2]:601", "no IPv6 address"},
    {"tcp://[12345::]:601", "no IPv6 address"},
    {"tcp://[g::]:601", "no IPv6 address"},
    {"tcp://[1:2:3:4:5:6:7:1.2.3.4]:601", "no IPv6 address"},
    {"tcp://[::1.2.3]:601", "no IPv6 address"},
    {"tcp://[::1.2.3.4:5]:601", "no IPv6 address"},
    {"tcp://[::1.2.3.04]:601", "no IPv6 address"},
    {"tcp://[::1.2.3,4]:601", "no IPv6 address"},
    {"tcp://::1:601", "more than one ':'"},
    {"tcp://2001:db8::1:601", "brackets"},
    {"tcp://fe80::1", "brackets"},
    // ports
    {"tcp://a:", "port after ':' is missing"},
    {"tcp://[::1]:", "port after ':' is missing"},
    {"tcp://a:0", "out of range"},
    {"tcp://a:00", "begins with a zero"},
    {"tcp://a:0601", "begins with a zero"},
    {"tcp://a:65536", "out of range"},
    {"tcp://a:99999", "out of range"},
    {"tcp://a:100000", "out of range"},
    {"tcp://a:4294967297", "out of range"},
    {"tcp://a:18446744073709551617", "out of range"},
    {"tcp://a:-1", "not a number"},
    {"tcp://a:+1", "not a number"},
    {"tcp://a:x1", "not a number"},
    {"tcp://a:http", "not a number"},
    {"tcp://a::1", "more than one ':'"},
    {"tcp://a:1/", "'/' follows the port"},
    {"tcp://a:1x", "'x' follows the port"},
    {"tcp://a:601:", "more than one ':'"},
    {"tcp://a:1,tcp://b:2", "more than one ':'"},
    {"tcp://a:1,b", "',b' follows the port"},
    {"tcp://a:0x10", "'x10' follows the port"},
    {"tcp://a:1.5", "follows the port"},
    // paths
    {"unix:", "path is empty"},
    {"unix-dgram:", "path is empty"},
    {"unix:@", "path is empty"},
    {"unix:a", "relative"},
    {"unix:./a", "relative"},
    {"unix:~/a", "relative"},
    {"unix-dgram:dev/log", "'dev/log' is relative"},
    {"unix:///run/log.sock", "two slashes"},
    {"unix://host/a", "two slashes"},
    {"unix:/", "directory"},
    {"unix:/run/", "directory"},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t index = 0; index < sizeof(refusals) / sizeof(refusals[0]); index++) {
        must_refuse(refusals[index].text, refusals[index].says);
    }
}

static void test_why_of_any_size(void **state)
{
    (void)state;
    struct weir_endpoint endpoint;
    assert_int_equal(weir_endpoint_parse(&endpoint, "x", NULL, 0), WEIR_EOPTION);
    assert_int_equal(weir_endpoint_parse(&endpoint, "unix:/a", NULL, 0), 0);
    char full[WHY_BYTES];
    assert_int_equal(weir_endpoint_parse(&endpoint, "x", full, sizeof(full)), WEIR_EOPTION);
    for (size_t size = 1; size <= strlen(full) + 1; size++) {
        char why[WHY_BYTES];
        memset(why, 0x5a, sizeof(why));
        assert_int_equal(weir_endpoint_parse(&endpoint, "x", why, size), WEIR_EOPTION);
        assert_int_equal(strlen(why), size - 1);
        assert_memory_equal(why, full, size - 1);
        assert_int_equal(why[size], 0x5a);
    }
}

static void test_format_cuts_as_snprintf_does(void **state)
{
    (void)state;
    static const char *const texts[] = {"tcp://[2001:db8::1]:65535", "relp://b:2514", "udp://a:1",
                                        "unix:/run/a", "unix-dgram:@b"};
    for (size_t index = 0; index < sizeof(texts) / sizeof(texts[0]); index++) {
        struct weir_endpoint endpoint;
        assert_int_equal(weir_endpoint_parse(&endpoint, texts[index], NULL, 0), 0);
        size_t bytes = strlen(texts[index]);
        assert_int_equal(weir_endpoint_format(&endpoint, NULL, 0), bytes);
        for (size_t size = 1; size <= bytes + 1; size++) {
            char out[64];
            memset(out, 0x5a, sizeof(out));
            assert_int_equal(weir_endpoint_format(&endpoint, out, size), bytes);
            assert_int_equal(strlen(out), size - 1);
            assert_memory_equal(out, texts[index], size - 1);
            assert_int_equal(out[size], 0x5a);
        }
    }
}

static void test_streams(void **state)
{
    (void)state;
    assert_true(weir_transport_is_stream(WEIR_TRANSPORT_TCP));
    assert_true(weir_transport_is_stream(WEIR_TRANSPORT_RELP));
    assert_true(weir_transport_is_stream(WEIR_TRANSPORT_UNIX));
    assert_false(weir_transport_is_stream(WEIR_TRANSPORT_UNIX_DGRAM));
    assert_false(weir_transport_is_stream(WEIR_TRANSPORT_UDP));
    assert_true(weir_transport_is_tcp(WEIR_TRANSPORT_TCP));
    assert_true(weir_transport_is_tcp(WEIR_TRANSPORT_RELP));
    assert_false(weir_transport_is_tcp(WEIR_TRANSPORT_UNIX));
    assert_false(weir_transport_is_tcp(WEIR_TRANSPORT_UNIX_DGRAM));
    assert_false(weir_transport_is_tcp(WEIR_TRANSPORT_UDP));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts_inet),    cmocka_unit_test(test_accepts_unix),
        cmocka_unit_test(test_lengths),         cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_why_of_any_size), cmocka_unit_test(test_format_cuts_as_snprintf_does),
        cmocka_unit_test(test_streams),
    };
    return cmocka_run_group_tests_name("endpoint", tests, NULL, NULL);
}
