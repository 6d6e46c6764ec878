// Tests of the options' refusals: quoted with care, cut to any size, also for what the host wrote.
#include "writer/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define WHY_BYTES 384
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

// Nothing a terminal would obey, and not the whole of an endless text.
static void test_refusals_quote_with_care(void **state)
{
    (void)state;
    struct weir_pool_options options;
    char endless[2000];
    char why[WHY_BYTES];
    weir_pool_options_init(&options);
    memset(endless, '7', sizeof(endless) - 1);
    endless[sizeof(endless) - 1] = '\0';
    memcpy(endless, "\x1b[2J\n\xff", 6);
    const char *const names[] = {"pool_size", "buffer_bytes_max", "confirm", "facility", endless};
    for (size_t index = 0; index < COUNT(names); index++) {
        assert_int_equal(weir_pool_options_set(&options, names[index], endless, why, sizeof(why)),
                         WEIR_EOPTION);
        assert_true(strlen(why) < 256);
        assert_non_null(strstr(why, "?[2J??777"));
        for (const char *at = why; *at != '\0'; at++) {
            assert_true(*at >= ' ' && *at <= '~');
        }
    }
    // Numbers that are too large are quoted too.
    memset(endless, '7', 6);
    assert_int_equal(weir_pool_options_set(&options, "severity", endless, why, sizeof(why)),
                     WEIR_EOPTION);
    assert_true(strlen(why) < 256);
}

static void test_why_is_cut_and_terminated(void **state)
{
    (void)state;
    struct weir_pool_options options;
    char whole[WHY_BYTES];
    char why[WHY_BYTES];
    weir_pool_options_init(&options);
    assert_int_equal(weir_pool_options_set(&options, "full", "x", whole, sizeof(whole)),
                     WEIR_EOPTION);
    for (size_t bytes = 0; bytes <= strlen(whole) + 2; bytes++) {
        memset(why, '#', sizeof(why));
        assert_int_equal(weir_pool_options_set(&options, "full", "x", why, bytes), WEIR_EOPTION);
        assert_int_equal(why[bytes], '#');
        if (bytes > 0) {
            size_t kept = bytes - 1 < strlen(whole) ? bytes - 1 : strlen(whole);
            assert_int_equal(strlen(why), kept);
            assert_memory_equal(why, whole, kept);
        }
    }
    assert_int_equal(weir_pool_options_set(&options, "full", "x", NULL, 0), WEIR_EOPTION);
    assert_int_equal(weir_pool_options_set(&options, "full", "block", NULL, 0), 0);
}

// A host can write to the struct without weir_pool_options_set.
static void test_values_written_by_the_host_are_checked(void **state)
{
    (void)state;
    struct weir_pool_options options;
    char why[WHY_BYTES];
#define BROKEN(member, value, said)                                                                \
    do {                                                                                           \
        weir_pool_options_init(&options);                                                          \
        options.member = (value);                                                                  \
        assert_int_equal(weir_pool_options_check_values(&options, why, sizeof(why)),               \
                         WEIR_EOPTION);                                                            \
        assert_non_null(strstr(why, #member " " said));                                            \
    } while (0)
    BROKEN(pool_size, 0, "0 is out of range; write 1 to 64");
    BROKEN(pool_size, 65, "65 is out of range");
    BROKEN(buffer_bytes_max, 4095, "4095 is out of range");
    BROKEN(buffer_bytes_max, UINT64_MAX, "18446744073709551615 is out of range");
    BROKEN(message_bytes_max, 0, "0 is out of range");
    BROKEN(message_bytes_max, 268435456, "268435456 is out of range");
    BROKEN(flush_limit_bytes, 0, "0 is out of range");
    BROKEN(flush_limit_bytes, UINT32_MAX, "4294967295 is out of range");
    BROKEN(flush_interval_ms, 0, "0 is out of range");
    BROKEN(flush_interval_ms, 86400001, "86400001 is out of range");
    BROKEN(retry_interval_ms, 0, "0 is out of range");
    BROKEN(retry_interval_max_ms, 0, "0 is out of range");
    BROKEN(connect_timeout_ms, 0, "0 is out of range");
    BROKEN(stall_timeout_ms, 0, "0 is out of range");
    BROKEN(epoch_bytes_max, (UINT64_C(1) << 40) + 1, "1099511627777 is out of range");
    BROKEN(epoch_interval_ms, 0, "0 is out of range");
    BROKEN(epoch_interval_ms, 86400001, "86400001 is out of range");
    BROKEN(failback_ms, 86400001, "86400001 is out of range; write 0 to 86400000");
    BROKEN(keepalive_ms, 86400001, "86400001 is out of range");
    BROKEN(tcp_user_timeout_ms, UINT32_MAX, "4294967295 is out of range");
    BROKEN(notsent_bytes_max, 268435456, "268435456 is out of range");
    BROKEN(window_messages, 0, "0 is out of range; write 1 to 4096");
    BROKEN(window_messages, 4097, "4097 is out of range");
    BROKEN(window_bytes, 0, "0 is out of range");
    BROKEN(window_bytes, 268435456, "268435456 is out of range");
    BROKEN(answer_timeout_ms, 0, "0 is out of range");
    BROKEN(replay_bytes, (UINT64_C(1) << 40) + 1, "1099511627777 is out of range");
    BROKEN(confirm, (enum weir_confirm)4, "4 is unknown; write auto|sent|peer|ack");
    BROKEN(refused, (enum weir_refused)2, "2 is unknown; write retry|drop");
    BROKEN(full, (enum weir_full)3, "3 is unknown; write drop-newest|drop-oldest|block");
    BROKEN(framing, (enum weir_framing)4, "4 is unknown; write newline|octet-counting|raw|relp");
    BROKEN(delimiter, (enum weir_delimiter_policy)3, "3 is unknown; write escape|refuse|pass");
    BROKEN(header, (enum weir_header)2, "2 is unknown; write none|rfc5424");
#undef BROKEN
    // Not looked at without a header.
    weir_pool_options_init(&options);
    options.facility = 255;
    options.severity = 255;
    assert_int_equal(weir_pool_options_check_values(&options, why, sizeof(why)), 0);
    assert_string_equal(why, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals_quote_with_care),
        cmocka_unit_test(test_why_is_cut_and_terminated),
        cmocka_unit_test(test_values_written_by_the_host_are_checked),
    };
    return cmocka_run_group_tests_name("options_refusal", tests, NULL, NULL);
}
