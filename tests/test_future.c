// Tests of futures as such: texts of errors, poll and drop, bodies, any and all of several.
#include "tests/support_future.h"

#include <string.h>

// ---- Texts ----

static void test_error_text(void **state)
{
    (void)state;
#define CHECK_TEXT(name, value, text)                                                              \
    assert_int_equal(name, value);                                                                 \
    assert_string_equal(weir_error_text(name), text);
    WEIR_ERRORS(CHECK_TEXT)
#undef CHECK_TEXT
    assert_string_equal(weir_error_text(-5), "system error");
    assert_string_equal(weir_error_text(0), "no error");
    assert_string_equal(weir_error_text(7), "no error");
}

// ---- Poll and drop ----

static void test_drop_states(void **state)
{
    (void)state;
    struct weir_context context = {.budget = 1};
    struct counter inert;
    memset(&inert, 0, sizeof inert);
    weir_drop(&inert.future, &context);
    assert_int_equal(inert.future.resume, WEIR_RESUME_START);

    struct counter unstarted = counter_make(3);
    weir_drop(&unstarted.future, &context);
    assert_int_equal(unstarted.exits, 0);
    assert_int_equal(unstarted.future.result, WEIR_ECANCELED);
    assert_int_equal(weir_future_poll(&unstarted.future, &context), WEIR_READY);
    assert_int_equal(unstarted.polls, 0);

    struct counter started = counter_make(3);
    assert_int_equal(weir_future_poll(&started.future, &context), WEIR_PENDING);
    weir_drop(&started.future, &context);
    weir_drop(&started.future, &context);
    assert_int_equal(started.exits, 1);
    assert_int_equal(started.future.result, WEIR_ECANCELED);

    struct counter done = counter_make(1);
    assert_int_equal(weir_future_poll(&done.future, &context), WEIR_READY);
    assert_int_equal(weir_future_poll(&done.future, &context), WEIR_READY);
    weir_drop(&done.future, &context);
    assert_int_equal(done.polls, 1);
    assert_int_equal(done.exits, 0);
    assert_int_equal(done.future.result, 101);
}

struct body {
    struct weir_future future;
    struct counter first, second;
    int *exits;
};

static enum weir_poll body_poll(struct weir_future *future, struct weir_context *context)
{
    struct body *me = (struct body *)future;
    weir_begin(me);
    me->first = counter_make(2);
    weir_await(me, context, &me->first);
    if (me->first.future.result != 102) {
        weir_return(me, -1);
    }
    me->second = counter_make(2);
    weir_await(me, context, &me->second);
    weir_return(me, 7);
    weir_exit(me);
    (*me->exits)++;
    weir_drop(&me->first.future, context);
    weir_drop(&me->second.future, context);
    weir_end(me);
}

static void test_body(void **state)
{
    (void)state;
    struct weir_context context = {.budget = 1};
    int exits = 0;
    struct body body = {.future.poll = body_poll, .exits = &exits};
    assert_int_equal(weir_future_poll(&body.future, &context), WEIR_PENDING);
    assert_int_equal(weir_future_poll(&body.future, &context), WEIR_PENDING);
    assert_int_equal(weir_future_poll(&body.future, &context), WEIR_READY);
    assert_int_equal(body.future.result, 7);
    assert_int_equal(exits, 1);

    for (int polls = 0; polls < 3; polls++) { // cancelled at each of its places
        exits = 0;
        body = (struct body){.future.poll = body_poll, .exits = &exits};
        for (int i = 0; i < polls; i++) {
            assert_int_equal(weir_future_poll(&body.future, &context), WEIR_PENDING);
        }
        weir_drop(&body.future, &context);
        assert_int_equal(exits, polls > 0);
        assert_int_equal(body.first.exits, polls == 1);
        assert_int_equal(body.second.exits, polls == 2);
        assert_int_equal(body.future.result, WEIR_ECANCELED);
        weir_drop(&body.future, &context);
        assert_int_equal(exits, polls > 0);
    }
}

static void wrong_resume(void *unused)
{
    (void)unused;
    struct weir_context context = {.budget = 1};
    struct body body = {.future = {.poll = body_poll, .resume = 1}};
    (void)weir_future_poll(&body.future, &context);
}

static void wrong_inert_poll(void *unused)
{
    (void)unused;
    struct weir_context context = {.budget = 1};
    struct weir_future future = {0};
    (void)weir_future_poll(&future, &context);
}

static void wrong_period(void *unused)
{
    (void)unused;
    struct weir_interval interval;
    weir_interval_init(&interval, 0, WEIR_MISSED_BURST);
}

static void test_misuse_aborts(void **state)
{
    (void)state;
    test_expect_abort(wrong_resume, NULL);
    test_expect_abort(wrong_inert_poll, NULL);
    test_expect_abort(wrong_period, NULL);
}

// ---- Any and all ----

static void test_poll_any(void **state)
{
    (void)state;
    struct weir_context context = {.budget = 1};
    assert_int_equal(weir_poll_any(NULL, 0, NULL, &context), -1);
    uint32_t rotor = 5;
    assert_int_equal(weir_poll_any(NULL, 0, &rotor, &context), -1);

    struct counter a = counter_make(3), b = counter_make(2), c = counter_make(2);
    struct weir_future *const all[] = {&a.future, &b.future, &c.future};
    assert_int_equal(weir_poll_any(all, 3, NULL, &context), -1);
    assert_int_equal(weir_poll_any(all, 3, NULL, &context), 1); // b before c: priority
    assert_int_equal(c.polls, 1);                               // not looked at any more
    assert_int_equal(a.exits + b.exits + c.exits, 0);           // the losers are still armed
    assert_int_equal(weir_poll_any(all, 3, NULL, &context), 0);
    weir_drop(&c.future, &context);
    assert_int_equal(c.exits, 1);
}

static void test_rotor_is_fair(void **state)
{
    (void)state;
    struct weir_context context = {.budget = 1};
    struct counter four[4];
    struct weir_future *all[4];
    int wins[4] = {0};
    for (int i = 0; i < 4; i++) {
        four[i] = counter_make(0);
        four[i].again = true;
        all[i] = &four[i].future;
    }
    uint32_t rotor = 0;
    for (int i = 0; i < 400; i++) {
        int winner = weir_poll_any(all, 4, &rotor, &context);
        assert_int_equal(winner, i % 4);
        wins[winner]++;
    }
    four[1].ready_at = INT32_MAX; // one that is never ready costs the others nothing
    for (int i = 0; i < 300; i++) {
        wins[weir_poll_any(all, 4, &rotor, &context)]++;
    }
    assert_int_equal(wins[1], 100);
    // Its turns fall to the one after it.
    assert_int_equal(wins[0] + wins[2] + wins[3], 600);
    assert_true(wins[0] >= 199 && wins[2] >= 199 && wins[3] >= 199);
    rotor = UINT32_MAX; // any value will do
    assert_int_equal(weir_poll_any(all, 4, &rotor, &context), UINT32_MAX % 4);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(weir_poll_any(all, 4, NULL, &context), 0);
    }
}

static void test_poll_all(void **state)
{
    (void)state;
    struct weir_context context = {.budget = 1};
    assert_true(weir_poll_all(NULL, 0, &context));
    struct counter a = counter_make(1), b = counter_make(3), c = counter_make(2);
    struct weir_future *const all[] = {&a.future, &b.future, &c.future};
    assert_false(weir_poll_all(all, 3, &context));
    assert_false(weir_poll_all(all, 3, &context));
    assert_true(weir_poll_all(all, 3, &context));
    assert_int_equal(a.polls, 1);
    assert_int_equal(b.polls, 3);
    assert_int_equal(c.polls, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_text), cmocka_unit_test(test_drop_states),
        cmocka_unit_test(test_body),       cmocka_unit_test(test_misuse_aborts),
        cmocka_unit_test(test_poll_any),   cmocka_unit_test(test_rotor_is_fair),
        cmocka_unit_test(test_poll_all),
    };
    return cmocka_run_group_tests_name("future", tests, NULL, NULL);
}
