// Tests of the options' table: defaults, bounds, texts, names, and what an operator is told.
#include "writer/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define WHY_BYTES 384
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

// An independent reading of one member, by name.
static uint64_t member_get(const struct weir_pool_options *options, const char *name)
{
#define MEMBER(member)                                                                             \
    if (strcmp(name, #member) == 0) {                                                              \
        return (uint64_t)options->member;                                                          \
    }
    MEMBER(pool_size)
    MEMBER(buffer_bytes_max)
    MEMBER(message_bytes_max)
    MEMBER(flush_limit_bytes)
    MEMBER(flush_interval_ms)
    MEMBER(retry_interval_ms)
    MEMBER(retry_interval_max_ms)
    MEMBER(connect_timeout_ms)
    MEMBER(stall_timeout_ms)
    MEMBER(failback_ms)
    MEMBER(keepalive_ms)
    MEMBER(tcp_user_timeout_ms)
    MEMBER(notsent_bytes_max)
    MEMBER(window_messages)
    MEMBER(window_bytes)
    MEMBER(answer_timeout_ms)
    MEMBER(replay_bytes)
    MEMBER(epoch_bytes_max)
    MEMBER(epoch_interval_ms)
    MEMBER(confirm)
    MEMBER(refused)
    MEMBER(full)
    MEMBER(framing)
    MEMBER(delimiter)
    MEMBER(header)
    MEMBER(gap_records)
    MEMBER(facility)
    MEMBER(severity)
#undef MEMBER
    fail_msg("no numeric member %s", name);
    return 0;
}

struct range {
    const char *name;
    uint64_t min, max, initial;
    bool size;
};
static const struct range ranges[] = {
    {"pool_size", 1, 64, 1, false},
    {"buffer_bytes_max", 4096, UINT64_C(1) << 40, 16777216, true},
    {"message_bytes_max", 1, 268435455, 65536, true},
    {"flush_limit_bytes", 1, 268435455, 65536, true},
    {"flush_interval_ms", 1, 86400000, 100, false},
    {"retry_interval_ms", 1, 86400000, 100, false},
    {"retry_interval_max_ms", 1, 86400000, 10000, false},
    {"connect_timeout_ms", 1, 86400000, 5000, false},
    {"stall_timeout_ms", 1, 86400000, 30000, false},
    {"failback_ms", 0, 86400000, 60000, false},
    {"keepalive_ms", 0, 86400000, 60000, false},
    {"tcp_user_timeout_ms", 0, 86400000, 30000, false},
    {"notsent_bytes_max", 0, 268435455, 131072, true},
    {"window_messages", 1, 4096, 128, false},
    {"window_bytes", 1, 268435455, 1048576, true},
    {"answer_timeout_ms", 1, 86400000, 30000, false},
    {"replay_bytes", 0, UINT64_C(1) << 40, 0, true},
    {"epoch_bytes_max", 0, UINT64_C(1) << 40, 4194304, true},
    {"epoch_interval_ms", 1, 86400000, 10000, false},
};

struct named {
    const char *name;
    const char *text;
    uint64_t value;
};
static const struct named nameds[] = {
    {"confirm", "auto", WEIR_CONFIRM_AUTO},
    {"confirm", "sent", WEIR_CONFIRM_SENT},
    {"confirm", "peer", WEIR_CONFIRM_PEER},
    {"confirm", "ack", WEIR_CONFIRM_ACK},
    {"refused", "retry", WEIR_REFUSED_RETRY},
    {"refused", "drop", WEIR_REFUSED_DROP},
    {"full", "drop-newest", WEIR_FULL_DROP_NEWEST},
    {"full", "drop-oldest", WEIR_FULL_DROP_OLDEST},
    {"full", "block", WEIR_FULL_BLOCK},
    {"framing", "newline", WEIR_FRAMING_NEWLINE},
    {"framing", "octet-counting", WEIR_FRAMING_OCTET_COUNTING},
    {"framing", "raw", WEIR_FRAMING_RAW},
    {"framing", "relp", WEIR_FRAMING_RELP},
    {"delimiter", "escape", WEIR_DELIMITER_ESCAPE},
    {"delimiter", "refuse", WEIR_DELIMITER_REFUSE},
    {"delimiter", "pass", WEIR_DELIMITER_PASS},
    {"header", "none", WEIR_HEADER_NONE},
    {"header", "rfc5424", WEIR_HEADER_RFC5424},
    {"gap_records", "on", 1},
    {"gap_records", "off", 0},
    {"gap_records", "yes", 1},
    {"gap_records", "no", 0},
    {"gap_records", "true", 1},
    {"gap_records", "false", 0},
    {"gap_records", "1", 1},
    {"gap_records", "0", 0},
    {"facility", "kern", 0},
    {"facility", "user", 1},
    {"facility", "mail", 2},
    {"facility", "daemon", 3},
    {"facility", "auth", 4},
    {"facility", "syslog", 5},
    {"facility", "lpr", 6},
    {"facility", "news", 7},
    {"facility", "uucp", 8},
    {"facility", "cron", 9},
    {"facility", "authpriv", 10},
    {"facility", "ftp", 11},
    {"facility", "local0", 16},
    {"facility", "local7", 23},
    {"facility", "0", 0},
    {"facility", "13", 13},
    {"facility", "23", 23},
    {"severity", "emerg", 0},
    {"severity", "alert", 1},
    {"severity", "crit", 2},
    {"severity", "err", 3},
    {"severity", "error", 3},
    {"severity", "warning", 4},
    {"severity", "warn", 4},
    {"severity", "notice", 5},
    {"severity", "info", 6},
    {"severity", "debug", 7},
    {"severity", "0", 0},
    {"severity", "7", 7},
};

static void accept(struct weir_pool_options *options, const char *name, const char *text)
{
    char why[WHY_BYTES];
    memset(why, 'x', sizeof(why));
    if (weir_pool_options_set(options, name, text, why, sizeof(why)) != 0) {
        fail_msg("%s %s: %s", name, text, why);
    }
    assert_string_equal(why, "");
}

// The refusal names the option, says `said`, and changes nothing.
static void refuse(const char *name, const char *text, const char *said)
{
    struct weir_pool_options options, before;
    char why[WHY_BYTES];
    weir_pool_options_init(&options);
    memcpy(&before, &options, sizeof(options));
    memset(why, 'x', sizeof(why));
    int error = weir_pool_options_set(&options, name, text, why, sizeof(why));
    if (error != WEIR_EOPTION) {
        fail_msg("%s %s was accepted", name, text);
    }
    assert_non_null(memchr(why, 0, sizeof(why)));
    if (strstr(why, name) == NULL || strstr(why, said) == NULL) {
        fail_msg("'%s' does not name %s or say: %s", why, name, said);
    }
    assert_memory_equal(&options, &before, sizeof(options));
}

static const char *number(uint64_t value, const char *suffix)
{
    static char text[40];
    (void)snprintf(text, sizeof(text), "%llu%s", (unsigned long long)value, suffix);
    return text;
}

static void test_init_gives_the_defaults(void **state)
{
    (void)state;
    struct weir_pool_options options;
    memset(&options, 0xa5, sizeof(options));
    weir_pool_options_init(&options);
    for (size_t index = 0; index < COUNT(ranges); index++) {
        assert_int_equal(member_get(&options, ranges[index].name), ranges[index].initial);
    }
    assert_int_equal(options.confirm, WEIR_CONFIRM_AUTO);
    assert_int_equal(options.refused, WEIR_REFUSED_RETRY);
    assert_null(options.log);
    assert_null(options.log_context);
    assert_int_equal(options.full, WEIR_FULL_DROP_NEWEST);
    assert_int_equal(options.framing, WEIR_FRAMING_NEWLINE);
    assert_int_equal(options.delimiter, WEIR_DELIMITER_ESCAPE);
    assert_int_equal(options.header, WEIR_HEADER_NONE);
    assert_false(options.gap_records);
    assert_int_equal(options.facility, 1);
    assert_int_equal(options.severity, 6);
    const char *strings[] = {options.endpoint, options.hostname, options.app, options.procid,
                             options.msgid};
    for (size_t index = 0; index < COUNT(strings); index++) {
        assert_string_equal(strings[index], "");
    }
    assert_int_equal(weir_pool_options_check_values(&options, NULL, 0), 0);
}

static void test_numbers_at_their_bounds(void **state)
{
    (void)state;
    for (size_t index = 0; index < COUNT(ranges); index++) {
        const struct range *range = &ranges[index];
        struct weir_pool_options options;
        char said[80];
        weir_pool_options_init(&options);
        (void)snprintf(said, sizeof(said), "out of range; write %llu to %llu",
                       (unsigned long long)range->min, (unsigned long long)range->max);
        accept(&options, range->name, number(range->min, ""));
        assert_int_equal(member_get(&options, range->name), range->min);
        assert_int_equal(weir_pool_options_check_values(&options, NULL, 0), 0);
        accept(&options, range->name, number(range->max, ""));
        assert_int_equal(member_get(&options, range->name), range->max);
        assert_int_equal(weir_pool_options_check_values(&options, NULL, 0), 0);
        if (range->min > 0) {
            refuse(range->name, number(range->min - 1, ""), said);
            refuse(range->name, "0", said);
        }
        refuse(range->name, number(range->max + 1, ""), said);
        if (range->max < UINT32_MAX) {
            refuse(range->name, "4294967297", said); // 1, if cut to 32 bits
        }
        refuse(range->name, "18446744073709551615", said);
        refuse(range->name, "18446744073709551616", said);
        refuse(range->name, "18446744073709551617", said); // 1, if cut to 64 bits
        refuse(range->name, "99999999999999999999999999999999999999", said);
    }
}

static void test_garbage_is_no_number(void **state)
{
    (void)state;
    static const char *const garbage[] = {"",    " ",   "-1",  "+1",   "1 ",  " 1",  "0x10",
                                          "1.5", "1e3", "abc", "k",    "12x", "1kk", "1kb",
                                          "1t",  "1,0", "1_0", "\x1b", "١",   "1ms"};
    for (size_t index = 0; index < COUNT(ranges); index++) {
        for (size_t item = 0; item < COUNT(garbage); item++) {
            refuse(ranges[index].name, garbage[item],
                   ranges[index].size ? "is no size; write " : "is no number; write ");
        }
        refuse(ranges[index].name, NULL, "is no ");
        if (!ranges[index].size) {
            refuse(ranges[index].name, "1k", "is no number");
        }
    }
    refuse("facility", "", "'' is unknown");
    refuse("severity", "-1", "'-1' is unknown");
}

static void test_sizes_take_suffixes(void **state)
{
    (void)state;
    static const struct named sizes[] = {
        {"flush_limit_bytes", "32k", 32768},
        {"flush_limit_bytes", "1K", 1024},
        {"message_bytes_max", "3m", 3145728},
        {"message_bytes_max", "2M", 2097152},
        {"buffer_bytes_max", "4k", 4096},
        {"buffer_bytes_max", "2g", UINT64_C(2147483648)},
        {"buffer_bytes_max", "1024G", UINT64_C(1) << 40},
        {"buffer_bytes_max", "0008k", 8192},
    };
    struct weir_pool_options options;
    weir_pool_options_init(&options);
    for (size_t index = 0; index < COUNT(sizes); index++) {
        accept(&options, sizes[index].name, sizes[index].text);
        assert_int_equal(member_get(&options, sizes[index].name), sizes[index].value);
    }
    refuse("buffer_bytes_max", "1025g", "buffer_bytes_max 1025g is out of range");
    refuse("buffer_bytes_max", "3k", "out of range");
    refuse("flush_limit_bytes", "256m", "out of range");
    refuse("flush_limit_bytes", "0g", "out of range");
    // Products that would be small again after wrapping around 64 bits: 2^54 k, 2^44 m, 2^34 g.
    refuse("flush_limit_bytes", "18014398509481985k", "out of range");
    refuse("flush_limit_bytes", "17592186044417m", "out of range");
    refuse("flush_limit_bytes", "17179869185g", "out of range");
    refuse("buffer_bytes_max", "18446744073709551615g", "out of range");
}

static void test_names(void **state)
{
    (void)state;
    struct weir_pool_options options;
    weir_pool_options_init(&options);
    for (size_t index = 0; index < COUNT(nameds); index++) {
        accept(&options, nameds[index].name, nameds[index].text);
        assert_int_equal(member_get(&options, nameds[index].name), nameds[index].value);
    }
    refuse("confirm", "maybe", "confirm 'maybe' is unknown; write auto|sent|peer|ack");
    refuse("refused", "ignore", "refused 'ignore' is unknown; write retry|drop");
    refuse("full", "drop_oldest", "write drop-newest|drop-oldest|block");
    refuse("full", "BLOCK", "is unknown");
    refuse("framing", "", "framing '' is unknown; write newline|octet-counting|raw|relp");
    refuse("delimiter", "1", "write escape|refuse|pass");
    refuse("header", "rfc3164", "write none|rfc5424");
    refuse("gap_records", "2", "write on|off");
    refuse("gap_records", NULL, "write on|off");
    refuse("facility", "24", "facility 24 is out of range; write 0 to 23");
    refuse("facility", "local8", "facility 'local8' is unknown; write NAME|0..23");
    refuse("severity", "8", "severity 8 is out of range; write 0 to 7");
    refuse("severity", "256", "out of range");
    refuse("severity", "fatal", "write NAME|0..7");
}

static void test_strings_keep_the_pointer(void **state)
{
    (void)state;
    struct weir_pool_options options;
    static const char text[] = "anything, checked when the pool is opened";
    weir_pool_options_init(&options);
    accept(&options, "endpoint", text);
    accept(&options, "hostname", text + 1);
    accept(&options, "app", text + 2);
    accept(&options, "procid", text + 3);
    accept(&options, "msgid", text + 4);
    assert_ptr_equal(options.endpoint, text);
    assert_ptr_equal(options.hostname, text + 1);
    assert_ptr_equal(options.app, text + 2);
    assert_ptr_equal(options.procid, text + 3);
    assert_ptr_equal(options.msgid, text + 4);
    accept(&options, "app", NULL);
    assert_string_equal(options.app, "");
}

static void test_unknown_names_are_told_the_nearest(void **state)
{
    (void)state;
    refuse("flush_limit", "1",
           "there is no option 'flush_limit'; the nearest is flush_limit_bytes");
    refuse("retry-interval-max", "1", "the nearest is retry_interval_max_ms");
    refuse("Pool_size", "1", "there is no option 'Pool_size'");
    refuse("", "1", "there is no option ''");
    // What only a program can set.
    refuse("log", "1", "there is no option 'log'");
    refuse("log_context", "1", "there is no option 'log_context'");
    struct weir_pool_options options;
    char why[WHY_BYTES];
    weir_pool_options_init(&options);
    assert_int_equal(weir_pool_options_set(&options, "zzz", "1", why, sizeof(why)), WEIR_EOPTION);
    assert_null(strstr(why, "nearest"));
}

// --help and README are made of this: every option once, in printable text, and what the syntax
// offers is what is accepted.
static void test_the_iterator_tells_the_truth(void **state)
{
    (void)state;
    struct weir_pool_options options, initial;
    size_t count = 0;
    size_t numeric = 0;
    weir_pool_options_init(&initial);
    for (; weir_option_at(count) != NULL; count++) {
        const struct weir_option *option = weir_option_at(count);
        const char *const texts[] = {option->name, option->syntax, option->initial, option->help};
        for (size_t index = 0; index < COUNT(texts); index++) {
            assert_non_null(texts[index]);
            for (const char *at = texts[index]; *at != '\0'; at++) {
                assert_true(*at >= ' ' && *at <= '~');
            }
        }
        assert_true(strlen(option->help) > 10 && option->help[strlen(option->help) - 1] != '.');
        for (size_t other = 0; other < count; other++) {
            assert_string_not_equal(weir_option_at(other)->name, option->name);
        }
        weir_pool_options_init(&options);
        accept(&options, option->name, option->initial);
        assert_memory_equal(&options, &initial, sizeof(options));
        if (strcmp(option->syntax, "TEXT") != 0 && strcmp(option->name, "endpoint") != 0) {
            (void)member_get(&options, option->name);
            numeric++;
        }
        if (option->syntax[0] >= 'a' && option->syntax[0] <= 'z') {
            char words[100];
            (void)snprintf(words, sizeof(words), "%s", option->syntax);
            for (char *word = strtok(words, "|"); word != NULL; word = strtok(NULL, "|")) {
                accept(&options, option->name, word);
            }
        }
    }
    assert_int_equal(count, 33);
    assert_int_equal(numeric, 28);
    assert_null(weir_option_at(count + 1));
    assert_null(weir_option_at(SIZE_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init_gives_the_defaults),
        cmocka_unit_test(test_numbers_at_their_bounds),
        cmocka_unit_test(test_garbage_is_no_number),
        cmocka_unit_test(test_sizes_take_suffixes),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_strings_keep_the_pointer),
        cmocka_unit_test(test_unknown_names_are_told_the_nearest),
        cmocka_unit_test(test_the_iterator_tells_the_truth),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
