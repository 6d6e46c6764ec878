// Tests of RELP's client: its frames and numbers, answers to open, and the window against a list.
//
// The window runs over the end of its numbers and of its ring.
#include "writer/relp.h"

#include <stdio.h>
#include <string.h>

#include "tests/support_random.h"
#include "tests/support_runtime.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define WINDOW_RUNS 300
#define WINDOW_STEPS 4000

// ---- Frames and numbers of the client ----

static void test_frames_byte_by_byte(void **state)
{
    (void)state;
    static const struct {
        uint32_t number;
        const char *open;
        const char *close;
    } rows[] = {
        {1, "1 open 53 relp_version=0\nrelp_software=weir,0.1\ncommands=syslog\n", "1 close 0\n"},
        {999999999, "999999999 open 53 relp_version=0\nrelp_software=weir,0.1\ncommands=syslog\n",
         "999999999 close 0\n"},
    };
    for (size_t index = 0; index < COUNT(rows); index++) {
        char to[WEIR_RELP_FRAME_BYTES_MAX + 1];
        memset(to, '#', sizeof(to));
        size_t bytes = weir_relp_open_write(to, rows[index].number);
        assert_int_equal(bytes, strlen(rows[index].open));
        assert_memory_equal(to, rows[index].open, bytes);
        assert_int_equal(to[WEIR_RELP_FRAME_BYTES_MAX], '#');
        bytes = weir_relp_close_write(to, rows[index].number);
        assert_int_equal(bytes, strlen(rows[index].close));
        assert_memory_equal(to, rows[index].close, bytes);
    }
    // The length is that of what follows it.
    const char *data = strstr(rows[0].open, "53 ") + 3;
    assert_int_equal(strlen(data), 53 + 1);
}

static void test_numbers(void **state)
{
    (void)state;
    assert_int_equal(weir_relp_number_next(0), 1);
    assert_int_equal(weir_relp_number_next(1), 2);
    assert_int_equal(weir_relp_number_next(999999998), 999999999);
    assert_int_equal(weir_relp_number_next(999999999), 1);
    static const struct {
        uint32_t number;
        const char *text;
    } rows[] = {{0, "000000000"},         {1, "000000001"},        {10, "000000010"},
                {123456789, "123456789"}, {99999999, "099999999"}, {999999999, "999999999"}};
    for (size_t index = 0; index < COUNT(rows); index++) {
        unsigned char to[11] = "##########";
        weir_relp_number_write(to, rows[index].number);
        assert_memory_equal(to, rows[index].text, 9);
        assert_int_equal(to[9], '#');
    }
}

static void test_answers_to_open(void **state)
{
    (void)state;
    static const char refused[] = "the server refused to open a session";
    static const char version[] = "the server does not speak version 0 of RELP";
    static const char syslog[] = "the server does not take the command syslog";
    static const struct {
        const char *data;
        const char *why;
    } rows[] = {
        {"200 OK\nrelp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\n"
         "commands=syslog",
         NULL},
        {"200 OK\ncommands=syslog\nrelp_version=0\n", NULL},
        {"200\nrelp_version=0\ncommands=syslog\n\n", NULL},
        {"200 OK\nrelp_version=1,0\ncommands=starttls,syslog,eventlog", NULL},
        {"200 OK\nrelp_version=0\nx\n=\ncommands=\ncommands=syslog", NULL},
        {"500 required command not supported by client", refused},
        {"500 no\nrelp_version=0\ncommands=syslog", refused},
        {"201 OK\nrelp_version=0\ncommands=syslog", refused},
        {"", refused},
        {"200 OK", version},
        {"200 OK\n", version},
        {"200 relp_version=0\ncommands=syslog", version},
        {"200 OK\nrelp_version=1\ncommands=syslog", version},
        {"200 OK\nrelp_version=00\ncommands=syslog", version},
        {"200 OK\nrelp_version=\ncommands=syslog", version},
        {"200 OK\nrelp_version\ncommands=syslog", version},
        {"200 OK\nxrelp_version=0\ncommands=syslog", version},
        {"200 OK\nrelp_versions=0\ncommands=syslog", version},
        {"200 OK\nrelp_version:0\ncommands=syslog", version},
        {"200 OK\nrelp_version=0", syslog},
        {"200 OK\nrelp_version=0\n", syslog},
        {"200 OK\nrelp_version=0\ncommands=", syslog},
        {"200 OK\nrelp_version=0\ncommands=syslo", syslog},
        {"200 OK\nrelp_version=0\ncommands=syslogs", syslog},
        {"200 OK\nrelp_version=0\ncommands=Syslog", syslog},
        {"200 OK\nrelp_version=0\ncommands=a,,b,", syslog},
        {"200 OK\nrelp_version=0\nrelp_software=syslog", syslog},
    };
    for (size_t index = 0; index < COUNT(rows); index++) {
        static struct weir_relp_parser parser;
        char text[200];
        size_t used;
        memset(&parser, 0, sizeof(parser));
        int bytes = snprintf(text, sizeof(text), "1 rsp %zu %s\n", strlen(rows[index].data),
                             rows[index].data);
        assert_int_equal(
            weir_relp_parse(&parser, (const unsigned char *)text, (size_t)bytes, &used),
            WEIR_RELP_ANSWER);
        const char *why = weir_relp_open_refused(&parser);
        if (rows[index].why == NULL) {
            assert_null(why);
        } else if (why == NULL || strcmp(why, rows[index].why) != 0) {
            fail_msg("'%s': %s", rows[index].data, why != NULL ? why : "taken");
        }
    }
}

// Only what is kept is looked at, and a stale rest of an earlier answer is not.
static void test_answers_to_open_of_any_size(void **state)
{
    (void)state;
    static struct weir_relp_parser parser;
    static const char first[] = "1 rsp 6 200 OK\n";
    static const char offers[] = "200 OK\nrelp_version=0\ncommands=syslog\n";
    for (size_t data_bytes = sizeof(offers) - 1; data_bytes < 600; data_bytes++) {
        char text[800];
        size_t used;
        int head = snprintf(text, sizeof(text), "1 rsp %zu ", data_bytes);
        memset(text + head, 'x', data_bytes);
        memcpy(text + head, offers, sizeof(offers) - 1);
        text[(size_t)head + data_bytes] = '\n';
        memset(&parser, 0, sizeof(parser));
        assert_int_equal(weir_relp_parse(&parser, (const unsigned char *)text,
                                         (size_t)head + data_bytes + 1, &used),
                         WEIR_RELP_ANSWER);
        assert_null(weir_relp_open_refused(&parser));
        assert_int_equal(
            weir_relp_parse(&parser, (const unsigned char *)first, sizeof(first) - 1, &used),
            WEIR_RELP_ANSWER);
        assert_non_null(weir_relp_open_refused(&parser));
    }
}

// ---- The window ----

// A list: the oldest first.
struct list {
    uint32_t numbers[WEIR_WINDOW_MESSAGES_MAX];
    enum weir_relp_answer answers[WEIR_WINDOW_MESSAGES_MAX];
    size_t count;
    uint32_t last_number;
};

static uint32_t list_next(const struct list *list)
{
    return list->last_number == 999999999 ? 1 : list->last_number + 1;
}

static void list_add(struct list *list)
{
    list->last_number = list_next(list);
    list->numbers[list->count] = list->last_number;
    list->answers[list->count++] = WEIR_RELP_WAITING;
}

static bool list_answer(struct list *list, uint32_t number, bool accepted)
{
    for (size_t index = 0; index < list->count; index++) {
        if (list->numbers[index] == number && list->answers[index] == WEIR_RELP_WAITING) {
            list->answers[index] = accepted ? WEIR_RELP_ACCEPTED : WEIR_RELP_REFUSED;
            return true;
        }
    }
    return false;
}

static enum weir_relp_answer list_oldest(const struct list *list)
{
    return list->count > 0 ? list->answers[0] : WEIR_RELP_WAITING;
}

static void list_pop(struct list *list)
{
    list->count--;
    memmove(list->numbers, list->numbers + 1, list->count * sizeof(list->numbers[0]));
    memmove(list->answers, list->answers + 1, list->count * sizeof(list->answers[0]));
}

// A number that waits, one just outside of the window, or any.
static uint32_t random_number(uint64_t *random, const struct list *list)
{
    size_t kind = random_below(random, 8);
    if (kind < 5 && list->count > 0) {
        return list->numbers[random_below(random, kind == 0 ? 1 : list->count)];
    }
    if (kind == 5) {
        return (list->last_number + (uint32_t)random_below(random, 4)) % 1000000001;
    }
    if (kind == 6 && list->count > 0) {
        return list->numbers[0] - (uint32_t)random_below(random, 4);
    }
    return (uint32_t)random_next(random) >> random_below(random, 32);
}

static void test_window_against_a_list(void **state)
{
    (void)state;
    static struct weir_relp_window window;
    static struct list list;
    static const uint32_t starts[] = {0, 1, 999999999, 999999998, 999999900, 999998000, 500};
    uint64_t random = seed_get();
    unsigned answered = 0, denied = 0, popped = 0, wrapped = 0, full = 0;
    for (int run = 0; run < WINDOW_RUNS; run++) {
        // Not cleared before, and never the same.
        list.count = 0;
        list.last_number = starts[random_below(&random, COUNT(starts))];
        weir_relp_window_init(&window, list.last_number);
        size_t most = run % 10 == 0 ? WEIR_WINDOW_MESSAGES_MAX : 1 + random_below(&random, 60);
        size_t adds = 1 + random_below(&random, 6);
        for (int step = 0; step < WINDOW_STEPS; step++) {
            if (random_below(&random, 8) < adds) {
                for (size_t burst = run % 10 == 0 ? 40 : 1; burst > 0 && list.count < most;
                     burst--) {
                    list_add(&list);
                    assert_int_equal(weir_relp_window_next(&window), list.last_number);
                    assert_int_equal(weir_relp_window_add(&window), list.last_number);
                    wrapped += list.last_number == 1 && list.count > 1 ? 1 : 0;
                    full += list.count == WEIR_WINDOW_MESSAGES_MAX ? 1 : 0;
                }
            }
            uint32_t number = random_number(&random, &list);
            bool accepted = random_below(&random, 4) > 0;
            bool expected = list_answer(&list, number, accepted);
            if (weir_relp_window_answer(&window, number, accepted) != expected) {
                fail_msg("number %u: should be %d", number, expected);
            }
            assert_int_equal(weir_relp_window_next(&window), list_next(&list));
            answered += expected ? 1 : 0;
            denied += expected ? 0 : 1;
            assert_int_equal(weir_relp_window_oldest(&window), list_oldest(&list));
            while (list_oldest(&list) != WEIR_RELP_WAITING && random_below(&random, 4) > 0) {
                list_pop(&list);
                weir_relp_window_pop(&window);
                popped++;
                assert_int_equal(weir_relp_window_oldest(&window), list_oldest(&list));
            }
        }
    }
    assert_true(answered > WINDOW_RUNS * 100 && denied > WINDOW_RUNS * 100);
    assert_true(popped > WINDOW_RUNS * 100 && wrapped > WINDOW_RUNS / 10 && full > 0);
}

// The whole ring at once, over the end of the numbers, answered from the back to the front.
static void test_window_full_and_backwards(void **state)
{
    (void)state;
    static struct weir_relp_window window;
    const uint32_t most = WEIR_WINDOW_MESSAGES_MAX;
    memset(&window, 0xa5, sizeof(window));
    weir_relp_window_init(&window, 999999000);
    assert_int_equal(weir_relp_window_oldest(&window), WEIR_RELP_WAITING);
    for (int round = 0; round < 3; round++) {
        static uint32_t numbers[WEIR_WINDOW_MESSAGES_MAX];
        for (uint32_t index = 0; index < most; index++) {
            numbers[index] = weir_relp_window_add(&window);
        }
        assert_false(
            weir_relp_window_answer(&window, weir_relp_number_next(numbers[most - 1]), true));
        // Those that would follow if the numbers did not begin again.
        for (uint32_t number = 1000000000; number < 1000000000 + 2 * most; number++) {
            assert_false(weir_relp_window_answer(&window, number, true));
        }
        assert_false(weir_relp_window_answer(&window, 0, true));
        for (uint32_t index = most; index > 0; index--) {
            assert_int_equal(weir_relp_window_oldest(&window), WEIR_RELP_WAITING);
            assert_true(weir_relp_window_answer(&window, numbers[index - 1], index % 3 != 0));
            assert_false(weir_relp_window_answer(&window, numbers[index - 1], index % 3 == 0));
        }
        for (uint32_t index = 0; index < most; index++) {
            assert_int_equal(weir_relp_window_oldest(&window),
                             (index + 1) % 3 != 0 ? WEIR_RELP_ACCEPTED : WEIR_RELP_REFUSED);
            weir_relp_window_pop(&window);
            assert_false(weir_relp_window_answer(&window, numbers[index], true));
        }
    }
}

static void misuse_add_to_a_full_window(void *unused)
{
    (void)unused;
    static struct weir_relp_window window;
    weir_relp_window_init(&window, 0);
    for (uint32_t index = 0; index <= WEIR_WINDOW_MESSAGES_MAX; index++) {
        (void)weir_relp_window_add(&window);
    }
}

static void misuse_pop_of_an_empty_window(void *unused)
{
    (void)unused;
    static struct weir_relp_window window;
    weir_relp_window_init(&window, 0);
    weir_relp_window_pop(&window);
}

static void misuse_pop_of_one_that_waits(void *unused)
{
    (void)unused;
    static struct weir_relp_window window;
    weir_relp_window_init(&window, 0);
    (void)weir_relp_window_add(&window);
    weir_relp_window_pop(&window);
}

static void misuse_number(void *unused)
{
    (void)unused;
    unsigned char to[WEIR_RELP_NUMBER_BYTES];
    weir_relp_number_write(to, 1000000000);
}

static void misuse_next_number(void *unused)
{
    (void)unused;
    (void)weir_relp_number_next(1000000000);
}

static void misuse_open_as_a_hint(void *unused)
{
    (void)unused;
    char to[WEIR_RELP_FRAME_BYTES_MAX];
    (void)weir_relp_open_write(to, 0);
}

static void test_misuse_is_stopped(void **state)
{
    (void)state;
    test_expect_abort(misuse_add_to_a_full_window, NULL);
    test_expect_abort(misuse_pop_of_an_empty_window, NULL);
    test_expect_abort(misuse_pop_of_one_that_waits, NULL);
    test_expect_abort(misuse_number, NULL);
    test_expect_abort(misuse_next_number, NULL);
    test_expect_abort(misuse_open_as_a_hint, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_byte_by_byte),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_answers_to_open),
        cmocka_unit_test(test_answers_to_open_of_any_size),
        cmocka_unit_test(test_window_against_a_list),
        cmocka_unit_test(test_window_full_and_backwards),
        cmocka_unit_test(test_misuse_is_stopped),
    };
    return cmocka_run_group_tests_name("relp_client", tests, NULL, NULL);
}
