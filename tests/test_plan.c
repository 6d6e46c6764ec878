// Tests of the plan: the values that arrive in it, and its arithmetic, also of random options.
#include "tests/support_plan.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support_random.h"

#define RANDOM_RUNS 20000

static void test_defaults_make_this_plan(void **state)
{
    (void)state;
    struct weir_pool_plan plan;
    accept_plan(STREAM, NULL, &plan);
    assert_int_equal(plan.endpoints_count, 1);
    assert_int_equal(plan.endpoints[0].transport, WEIR_TRANSPORT_TCP);
    assert_string_equal(plan.endpoints[0].host, "collector");
    assert_int_equal(plan.endpoints[0].port, 601);
    assert_int_equal(plan.levels[0], 0);
    assert_true(plan.stream);
    assert_false(plan.relp);
    assert_false(plan.gap_records);
    assert_int_equal(plan.confirm, WEIR_CONFIRM_PEER);
    assert_int_equal(plan.refused, WEIR_REFUSED_RETRY);
    assert_null(plan.log);
    assert_null(plan.log_context);
    assert_int_equal(plan.full, WEIR_FULL_DROP_NEWEST);
    assert_int_equal(plan.writers_count, 1);
    assert_int_equal(plan.message_bytes_max, 65536);
    assert_int_equal(plan.flush_interval_ms, 100);
    assert_int_equal(plan.retry_interval_ms, 100);
    assert_int_equal(plan.retry_interval_max_ms, 10000);
    assert_int_equal(plan.connect_timeout_ms, 5000);
    assert_int_equal(plan.stall_timeout_ms, 30000);
    assert_int_equal(plan.failback_ms, 60000);
    assert_int_equal(plan.keepalive_ms, 60000);
    assert_int_equal(plan.tcp_user_timeout_ms, 30000);
    assert_int_equal(plan.notsent_bytes_max, 131072);
    assert_int_equal(plan.window_messages, 128);
    assert_int_equal(plan.window_bytes, 1048576);
    assert_int_equal(plan.answer_timeout_ms, 30000);
    assert_int_equal(plan.replay_bytes, 0);
    assert_int_equal(plan.epoch_interval_ms, 10000);
    assert_int_equal(plan.buffer_bytes_max, 16777216);
    assert_int_equal(plan.row.flush_limit_bytes, 65536);
    assert_int_equal(plan.row.message_bytes_max, 65536);
    assert_int_equal(plan.framer.framing, WEIR_FRAMING_NEWLINE);
    assert_int_equal(plan.framer.header, WEIR_HEADER_NONE);
#ifndef WEIR_LIMITS_TINY
    assert_int_equal(plan.row.segment_messages_max, 131072 / 96);
    // 16 MiB over 128 KiB of payload and 16 KiB of index.
    assert_in_range(plan.row.segment_count, 110, 114);
    // 110 segments of 64 KiB: a quarter of that is less than the option's 4 MiB.
    assert_int_equal(plan.epoch_bytes, plan.row.segment_count * UINT64_C(16384));
#endif
}

static void test_every_value_arrives(void **state)
{
    (void)state;
    static const struct setting times[] = {
        {"flush_interval_ms", "11"},  {"retry_interval_ms", "12"}, {"retry_interval_max_ms", "13"},
        {"connect_timeout_ms", "14"}, {"stall_timeout_ms", "15"},  {"epoch_interval_ms", "16"},
        {"failback_ms", "17"},        {"keepalive_ms", "18"},      {"tcp_user_timeout_ms", "19"},
        {"notsent_bytes_max", "20"},  {"answer_timeout_ms", "21"}, {"window_messages", "22"},
        {"window_bytes", "23"},       {"replay_bytes", "24"},      {NULL, NULL}};
    static const struct setting zeros[] = {{"failback_ms", "0"},         {"keepalive_ms", "0"},
                                           {"tcp_user_timeout_ms", "0"}, {"notsent_bytes_max", "0"},
                                           {"refused", "drop"},          {NULL, NULL}};
    static const struct setting others[] = {{"pool_size", "3"},
                                            {"message_bytes_max", "1000"},
                                            {"flush_limit_bytes", "2000"},
                                            {"full", "drop-oldest"},
                                            {"gap_records", "on"},
                                            {"confirm", "sent"},
                                            {"delimiter", "refuse"},
                                            {NULL, NULL}};
    struct weir_pool_plan plan;
    accept_plan(STREAM, times, &plan);
    assert_int_equal(plan.flush_interval_ms, 11);
    assert_int_equal(plan.retry_interval_ms, 12);
    assert_int_equal(plan.retry_interval_max_ms, 13);
    assert_int_equal(plan.connect_timeout_ms, 14);
    assert_int_equal(plan.stall_timeout_ms, 15);
    assert_int_equal(plan.epoch_interval_ms, 16);
    assert_int_equal(plan.failback_ms, 17);
    assert_int_equal(plan.keepalive_ms, 18);
    assert_int_equal(plan.tcp_user_timeout_ms, 19);
    assert_int_equal(plan.notsent_bytes_max, 20);
    assert_int_equal(plan.answer_timeout_ms, 21);
    assert_int_equal(plan.window_messages, 22);
    assert_int_equal(plan.window_bytes, 23);
    assert_int_equal(plan.replay_bytes, 24);
    accept_plan(RELP, zeros, &plan);
    assert_int_equal(plan.failback_ms, 0);
    assert_int_equal(plan.keepalive_ms, 0);
    assert_int_equal(plan.tcp_user_timeout_ms, 0);
    assert_int_equal(plan.notsent_bytes_max, 0);
    assert_int_equal(plan.refused, WEIR_REFUSED_DROP);
    accept_plan("unix:/run/x.sock", others, &plan);
    assert_int_equal(plan.writers_count, 3);
    assert_int_equal(plan.message_bytes_max, 1000);
    assert_int_equal(plan.row.message_bytes_max, 1000);
    assert_int_equal(plan.row.flush_limit_bytes, 2000);
    assert_int_equal(plan.full, WEIR_FULL_DROP_OLDEST);
    assert_true(plan.gap_records);
    assert_int_equal(plan.confirm, WEIR_CONFIRM_SENT);
    assert_int_equal(plan.framer.delimiter, WEIR_DELIMITER_REFUSE);
}

static void line_ignore(void *log_context, const char *line)
{
    (void)log_context;
    (void)line;
}

static void test_the_log_callback_arrives(void **state)
{
    (void)state;
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    int context = 0;
    options_make(&options, STREAM, NULL);
    options.log = line_ignore;
    options.log_context = &context;
    accept_options(&options, &plan);
    assert_true(plan.log == line_ignore);
    assert_ptr_equal(plan.log_context, &context);
}

// Epochs and the replay are what was asked for, and at most a quarter of what a writer's row holds.
static void test_epochs_and_replay_fit_into_the_row(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {{"0", 0},
                 {"1", 1},
                 {"10000", 10000},
                 {"64k", 65536},
                 {"100m", UINT64_MAX},
                 {"1024g", UINT64_MAX}};
    struct weir_pool_plan plan;
    for (size_t index = 0; index < COUNT(cases); index++) {
        const struct setting settings[] = {{"epoch_bytes_max", cases[index].text},
                                           {"replay_bytes", cases[index].text},
                                           {"message_bytes_max", "4096"},
                                           {"flush_limit_bytes", "4096"},
                                           {"buffer_bytes_max", "4m"},
                                           {NULL, NULL}};
        accept_plan(STREAM, settings, &plan);
        uint64_t quarter = (uint64_t)plan.row.segment_count * 4096 / 4;
        assert_true(quarter > 65536);
        uint64_t bytes = cases[index].bytes;
        assert_int_equal(plan.epoch_bytes, bytes < quarter ? bytes : quarter);
        assert_int_equal(plan.replay_bytes, bytes < quarter ? bytes : quarter);
    }
}

static void test_single_values_are_checked_first(void **state)
{
    (void)state;
    struct weir_pool_options options;
    options_make(&options, NULL, NULL);
    options.pool_size = 0;
    refuse_options(&options, "pool_size 0 is out of range");
    memset(&options, 0, sizeof(options));
    refuse_options(&options, "pool_size 0 is out of range");
}

static uint64_t random_between(uint64_t *state, uint64_t min, uint64_t max)
{
    switch (random_next(state) % 8) {
    case 0: return min;
    case 1: return max;
    default: break;
    }
    // Evenly over the magnitudes.
    uint64_t value = random_next(state) >> (random_next(state) % 64);
    return value < min ? min : value > max ? min + value % (max - min + 1) : value;
}

static void check_plan(const struct weir_pool_options *options, const struct weir_pool_plan *plan)
{
    uint64_t share = options->buffer_bytes_max / options->pool_size;
    struct weir_row_options row = plan->row;
    assert_true(plan->region_bytes > 0 && plan->region_bytes <= share);
    assert_int_equal(plan->region_bytes, weir_row_region_bytes(&row));
    assert_true(plan->region_bytes * plan->writers_count <= options->buffer_bytes_max);
    assert_in_range(row.segment_count, WEIR_SEGMENTS_MIN, WEIR_ROW_SEGMENTS_MAX);
    assert_int_equal(row.flush_limit_bytes, options->flush_limit_bytes);
    assert_int_equal(row.message_bytes_max, plan->message_bytes_max);
    // As many as fit.
    row.segment_count++;
    size_t more = weir_row_region_bytes(&row);
    assert_true(more == 0 || more > share);
    // A one-byte payload with the longest header fits in the largest message.
    assert_true(weir_framer_prefix_bytes_max(&plan->framer, 1) + 1 +
                    weir_framer_suffix_bytes(&plan->framer) <=
                plan->message_bytes_max);
    assert_true(plan->confirm == WEIR_CONFIRM_SENT || plan->stream);
    assert_true(plan->confirm != WEIR_CONFIRM_AUTO);
    assert_int_equal(plan->confirm == WEIR_CONFIRM_ACK, plan->relp);
    assert_int_equal(plan->framer.framing == WEIR_FRAMING_RELP, plan->relp);
    assert_true(plan->replay_bytes == 0 || plan->confirm == WEIR_CONFIRM_PEER);
    assert_true(plan->replay_bytes <= options->replay_bytes);
#ifndef WEIR_LIMITS_TINY
    uint64_t payload = (uint64_t)row.flush_limit_bytes + row.message_bytes_max;
    uint64_t index_bytes = UINT64_C(12) * row.segment_messages_max;
    assert_true(index_bytes <= payload / 8 || row.segment_messages_max == WEIR_INDEX_MESSAGES_MIN);
    // Messages of 100 bytes reach the flush limit no later than they fill the index.
    assert_true(row.message_bytes_max < 100 || row.segment_messages_max == WEIR_ROW_MESSAGES_MAX ||
                row.segment_messages_max >= (row.flush_limit_bytes + UINT64_C(99)) / 100);
#endif
}

// The smaller rows are made, and the largest message goes in and comes out.
static void check_row(const struct weir_pool_plan *plan)
{
    void *region = aligned_alloc(WEIR_ROW_LINE_BYTES, plan->region_bytes);
    assert_non_null(region);
    struct weir_row *row = weir_row_init(region, &plan->row);
    struct weir_reservation reservation;
    struct weir_segment segment;
    uint32_t bytes = plan->message_bytes_max;
    for (uint32_t index = 0; index < plan->row.segment_count; index++) {
        assert_int_equal(weir_row_reserve(row, bytes, &reservation), 0);
        memset(reservation.data, 'x', bytes);
        (void)weir_row_commit(row, &reservation, bytes);
        (void)weir_row_seal_open(row, 0);
    }
    assert_int_equal(weir_row_reserve(row, bytes, &reservation), WEIR_EFULL);
    assert_int_equal(weir_row_take(row, &segment), 1);
    assert_int_equal(segment.wire_bytes, bytes);
    free(region);
}

static void test_random_options(void **state)
{
    (void)state;
    static const char *const endpoints[] = {
        STREAM, DGRAM, UDP, RELP, "unix:/a,tcp://b:1", "relp://a:1|relp://b:1"};
    uint64_t random = seed_get();
    unsigned accepted = 0, refused = 0, made = 0;
    for (unsigned run = 0; run < RANDOM_RUNS; run++) {
        struct weir_pool_options options;
        struct weir_pool_plan plan;
        char why[WHY_BYTES];
        options_make(&options, endpoints[random_next(&random) % COUNT(endpoints)], NULL);
        // Half of them small, so that many rows can be made and filled.
        bool small = random_next(&random) % 2 == 0;
        options.pool_size = (uint32_t)random_between(&random, 1, WEIR_POOL_WRITERS_MAX);
        options.buffer_bytes_max = random_between(
            &random, WEIR_BUFFER_BYTES_MIN, small ? UINT64_C(1) << 21 : WEIR_BUFFER_BYTES_MAX);
        options.message_bytes_max =
            (uint32_t)random_between(&random, 1, small ? 4096 : WEIR_MESSAGE_BYTES_MAX);
        options.flush_limit_bytes =
            (uint32_t)random_between(&random, 1, small ? 8192 : WEIR_FLUSH_LIMIT_BYTES_MAX);
        // Mostly what suits every endpoint.
        bool suits = random_next(&random) % 4 > 0;
        options.framing =
            suits ? WEIR_FRAMING_NEWLINE : (enum weir_framing)(random_next(&random) % 4);
        options.header = (enum weir_header)(random_next(&random) % 2);
        options.confirm = suits ? WEIR_CONFIRM_AUTO : (enum weir_confirm)(random_next(&random) % 4);
        options.replay_bytes = random_next(&random) % 8 == 0 ? random_next(&random) % 100000 : 0;
        options.gap_records = random_next(&random) % 2 == 0;
        int error = weir_pool_options_check(&options, &plan, why, sizeof(why));
        if (error != 0) {
            assert_int_equal(error, WEIR_EOPTION);
            assert_true(strlen(why) > 0 && strlen(why) < WHY_BYTES - 1);
            refused++;
            continue;
        }
        accepted++;
        check_plan(&options, &plan);
        if (plan.region_bytes <= 65536) {
            check_row(&plan);
            made++;
        }
    }
    print_message("accepted %u, refused %u, rows made %u\n", accepted, refused, made);
    assert_true(accepted > RANDOM_RUNS / 20 && refused > RANDOM_RUNS / 20 &&
                made > RANDOM_RUNS / 20);
}

static uint64_t least_told(const struct weir_pool_options *options)
{
    struct weir_pool_plan plan;
    char why[WHY_BYTES];
    assert_int_equal(weir_pool_options_check(options, &plan, why, sizeof(why)), WEIR_EOPTION);
    const char *least = strstr(why, " at least ");
    if (strncmp(why, "buffer_bytes_max ", 17) != 0 || least == NULL) {
        fail_msg("no least value: %s", why);
    }
    return strtoull(least + 10, NULL, 10);
}

// The value the refusal asks for is accepted, gives two segments, and one byte less is not enough.
static void test_the_least_buffer_is_the_least(void **state)
{
    (void)state;
    static const struct {
        uint32_t writers, flush, message;
        uint64_t buffer;
    } cases[] = {{1, 65536, 65536, 65536},        {4, 32768, 65536, 65536},
                 {64, 65536, 65536, 16777216},    {1, 16777216, 1, 16777216},
                 {1, 1, 16777216, 16777216},      {7, 3 * 4096, 8193, 50000},
                 {1, 268435455, 268435455, 4096}, {64, 268435455, 268435455, 4096}};
    struct weir_pool_options options;
    struct weir_pool_plan plan;
    for (size_t index = 0; index < COUNT(cases); index++) {
        char said[120];
        options_make(&options, STREAM, NULL);
        options.framing = WEIR_FRAMING_RAW;
        options.pool_size = cases[index].writers;
        options.flush_limit_bytes = cases[index].flush;
        options.message_bytes_max = cases[index].message;
        options.buffer_bytes_max = cases[index].buffer;
        (void)snprintf(said, sizeof(said),
                       "buffer_bytes_max %llu is too small: %u writer%s with flush_limit_bytes %u "
                       "and message_bytes_max %u need",
                       (unsigned long long)cases[index].buffer, cases[index].writers,
                       cases[index].writers == 1 ? "" : "s", cases[index].flush,
                       cases[index].message);
        refuse_options(&options, said);
        uint64_t least = least_told(&options);
        options.buffer_bytes_max = least;
        accept_options(&options, &plan);
        assert_int_equal(plan.row.segment_count, 2);
        assert_int_equal(plan.region_bytes * plan.writers_count, least);
        options.buffer_bytes_max = least - 1;
        assert_int_equal(least_told(&options), least);
    }
}

static void test_segments_are_capped_by_the_row(void **state)
{
    (void)state;
    static const struct setting settings[] = {{"buffer_bytes_max", "1024g"},
                                              {"flush_limit_bytes", "4k"},
                                              {"message_bytes_max", "4k"},
                                              {NULL, NULL}};
    struct weir_pool_plan plan;
    accept_plan(STREAM, settings, &plan);
    assert_int_equal(plan.row.segment_count, WEIR_ROW_SEGMENTS_MAX);
    assert_true(plan.region_bytes < plan.buffer_bytes_max);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_make_this_plan),
        cmocka_unit_test(test_every_value_arrives),
        cmocka_unit_test(test_the_log_callback_arrives),
        cmocka_unit_test(test_epochs_and_replay_fit_into_the_row),
        cmocka_unit_test(test_single_values_are_checked_first),
        cmocka_unit_test(test_the_least_buffer_is_the_least),
        cmocka_unit_test(test_segments_are_capped_by_the_row),
        cmocka_unit_test(test_random_options),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
