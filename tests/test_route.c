// Tests of writer/route.h: its order, spread and passes against a naive model, exhaustively.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "tests/support_random.h"
#include "tests/support_runtime.h"
#include "writer/route.h"

#define SMALL_MAX 4 // endpoints of a list that is searched exhaustively
#define DEPTH 6     // events in a row there

// Every list of `count` endpoints is a word of count - 1 bits: where a comma stands.
static void levels_of(uint8_t *levels, uint32_t count, uint32_t commas)
{
    levels[0] = 0;
    for (uint32_t i = 1; i < count; i++) {
        levels[i] = (uint8_t)(levels[i - 1] + (commas >> (i - 1) & 1));
    }
}

// ---- The model: a queue of what is still to be tried before the next wait ----

struct model {
    uint8_t levels[WEIR_ENDPOINTS_MAX];
    uint32_t order[WEIR_ENDPOINTS_MAX];
    uint32_t queue[WEIR_ENDPOINTS_MAX];
    uint32_t count, queued;
    uint32_t home;
};

// Takes the endpoints level by level, each level turned by the writer's number, one step at a time.
static void model_order(struct model *model, uint32_t number)
{
    uint32_t placed = 0;
    for (uint32_t level = 0; level < model->count; level++) {
        uint32_t members[WEIR_ENDPOINTS_MAX];
        uint32_t members_count = 0;
        for (uint32_t i = 0; i < model->count; i++) {
            if (model->levels[i] == level) {
                members[members_count++] = i;
            }
        }
        for (uint32_t turn = 0; members_count > 0 && turn < number; turn++) {
            uint32_t first = members[0];
            memmove(members, members + 1, (members_count - 1) * sizeof(members[0]));
            members[members_count - 1] = first;
        }
        memcpy(model->order + placed, members, members_count * sizeof(members[0]));
        placed += members_count;
    }
    assert_int_equal(placed, model->count);
}

// All of the order, this one first.
static void model_queue(struct model *model, uint32_t first)
{
    model->queued = 0;
    model->queue[model->queued++] = first;
    for (uint32_t i = 0; i < model->count; i++) {
        if (model->order[i] != first) {
            model->queue[model->queued++] = model->order[i];
        }
    }
}

static void model_init(struct model *model, const uint8_t *levels, uint32_t count, uint32_t number)
{
    memset(model, 0, sizeof(*model));
    memcpy(model->levels, levels, count);
    model->count = count;
    model_order(model, number);
    model_queue(model, model->order[0]);
    model->home = model->order[0];
}

static bool model_failed(struct model *model)
{
    model->queued--;
    memmove(model->queue, model->queue + 1, model->queued * sizeof(model->queue[0]));
    if (model->queued > 0) {
        return false;
    }
    model_queue(model, model->order[0]);
    return true;
}

static void model_broke(struct model *model)
{
    uint32_t at = model->queue[0];
    model_queue(model, model->levels[at] == 0 ? at : model->order[0]);
}

// Those of lower levels, and the first of its own one.
static bool model_prefers(const struct model *model, uint32_t one, uint32_t other)
{
    if (model->levels[one] != model->levels[other]) {
        return model->levels[one] < model->levels[other];
    }
    uint32_t first = 0;
    while (model->levels[model->order[first]] != model->levels[one]) {
        first++;
    }
    return model->order[first] == one && one != other;
}

static enum weir_route_move model_arrived(struct model *model)
{
    uint32_t before = model->home;
    model->home = model->queue[0];
    return before == model->home                       ? WEIR_ROUTE_STAYED
           : model_prefers(model, model->home, before) ? WEIR_ROUTE_BACK
                                                       : WEIR_ROUTE_AWAY;
}

// ---- Both at once ----

struct pair {
    struct weir_route route;
    struct model model;
    uint32_t failed[WEIR_ENDPOINTS_MAX + 1]; // in a row, since the last wait or success
    uint32_t failed_count;
};

enum move { MOVE_FAILED, MOVE_BROKE, MOVE_AGAIN, MOVE_ARRIVED, MOVE_RETURN };

static void pair_init(struct pair *pair, const uint8_t *levels, uint32_t count, uint32_t number)
{
    memset(pair, 0, sizeof(*pair));
    weir_route_init(&pair->route, levels, count, number);
    model_init(&pair->model, levels, count, number);
}

// Whoever fails has not failed since the last wait; when all have, and only then, a wait comes.
static void pair_failed(struct pair *pair)
{
    uint32_t at = pair->route.endpoint;
    for (uint32_t i = 0; i < pair->failed_count; i++) {
        assert_int_not_equal(pair->failed[i], at);
    }
    pair->failed[pair->failed_count++] = at;
    bool wait = weir_route_failed(&pair->route);
    assert_int_equal(wait, model_failed(&pair->model));
    assert_int_equal(wait, pair->failed_count == pair->model.count);
    if (wait) {
        assert_int_equal(pair->route.endpoint, weir_route_at(&pair->route, 0));
        pair->failed_count = 0;
    }
}

// Returns go to the `which`-th preferred one, if there are so many.
//   returns  false: there are not.
static bool pair_move(struct pair *pair, uint32_t move)
{
    uint32_t at = pair->route.endpoint;
    if (move >= MOVE_RETURN && move - MOVE_RETURN >= weir_route_preferred(&pair->route)) {
        return false;
    }
    switch (move) {
    case MOVE_FAILED: pair_failed(pair); break;
    case MOVE_BROKE:
        weir_route_broke(&pair->route);
        model_broke(&pair->model);
        break;
    case MOVE_AGAIN:
        weir_route_again(&pair->route);
        model_queue(&pair->model, at);
        break;
    case MOVE_ARRIVED:
        assert_int_equal(weir_route_arrived(&pair->route), model_arrived(&pair->model));
        break;
    default:
        at = weir_route_at(&pair->route, move - MOVE_RETURN);
        weir_route_return(&pair->route, at);
        model_queue(&pair->model, at);
    }
    if (move != MOVE_FAILED && move != MOVE_ARRIVED) {
        pair->failed_count = 0;
    }
    assert_int_equal(pair->route.trusted,
                     move == MOVE_AGAIN || (move == MOVE_ARRIVED && pair->route.trusted));
    assert_int_equal(pair->route.endpoint, pair->model.queue[0]);
    return true;
}

static uint64_t pair_search(const struct pair *from, uint32_t depth)
{
    uint64_t states = 1;
    for (uint32_t move = 0; depth > 0; move++) {
        struct pair pair = *from;
        if (!pair_move(&pair, move)) {
            break;
        }
        states += pair_search(&pair, depth - 1);
    }
    return states;
}

static void every_way_through_small_lists(void **unused)
{
    (void)unused;
    uint64_t states = 0;
    for (uint32_t count = 1; count <= SMALL_MAX; count++) {
        for (uint32_t commas = 0; commas < 1u << (count - 1); commas++) {
            for (uint32_t number = 0; number <= count; number++) {
                uint8_t levels[WEIR_ENDPOINTS_MAX];
                struct pair pair;
                levels_of(levels, count, commas);
                pair_init(&pair, levels, count, number);
                states += pair_search(&pair, DEPTH);
            }
        }
    }
    print_message("%llu states\n", (unsigned long long)states);
    assert_true(states > 100000);
}

static void long_walks_through_long_lists(void **unused)
{
    (void)unused;
    uint64_t random = seed_get();
    for (uint32_t walk = 0; walk < 2000; walk++) {
        uint8_t levels[WEIR_ENDPOINTS_MAX];
        struct pair pair;
        uint32_t count = 1 + (uint32_t)random_below(&random, WEIR_ENDPOINTS_MAX);
        levels_of(levels, count, (uint32_t)random_next(&random));
        pair_init(&pair, levels, count, (uint32_t)random_below(&random, 64));
        for (uint32_t i = 0; i < 200; i++) {
            uint32_t move = (uint32_t)random_below(&random, 16);
            (void)pair_move(&pair, move < 10 ? MOVE_FAILED : move - 10);
        }
    }
}

// ---- The order by itself ----

static void orders_keep_levels_and_spread(void **unused)
{
    (void)unused;
    for (uint32_t count = 1; count <= WEIR_ENDPOINTS_MAX; count++) {
        for (uint32_t commas = 0; commas < 1u << (count - 1); commas++) {
            uint8_t levels[WEIR_ENDPOINTS_MAX];
            uint32_t first_of[WEIR_ENDPOINTS_MAX] = {0}; // writers that begin there
            levels_of(levels, count, commas);
            uint32_t level_size = 0;
            while (level_size < count && levels[level_size] == 0) {
                level_size++;
            }
            for (uint32_t number = 0; number < 3 * level_size; number++) {
                struct weir_route route;
                uint32_t seen = 0;
                weir_route_init(&route, levels, count, number);
                assert_int_equal(route.endpoint, number % level_size);
                first_of[route.endpoint]++;
                for (uint32_t place = 0; place < count; place++) {
                    uint32_t endpoint = weir_route_at(&route, place);
                    assert_int_equal(levels[endpoint], levels[place]); // never falling
                    seen |= 1u << endpoint;
                }
                assert_int_equal(seen, (1u << count) - 1); // nothing is left out
            }
            for (uint32_t i = 0; i < level_size; i++) {
                assert_int_equal(first_of[i], 3); // even
            }
        }
    }
}

// A writer that loses its endpoint finds all others of the level before any of the next.
static void a_lost_alternative_is_replaced_on_its_level(void **unused)
{
    (void)unused;
    static const uint8_t levels[] = {0, 0, 0, 1, 1};
    for (uint32_t number = 0; number < 6; number++) {
        struct weir_route route;
        weir_route_init(&route, levels, 5, number);
        for (uint32_t tries = 0; tries < 4; tries++) {
            assert_int_equal(levels[route.endpoint], tries < 3 ? 0 : 1);
            assert_false(weir_route_failed(&route));
        }
        assert_true(weir_route_failed(&route));
        assert_int_equal(route.endpoint, number % 3);
    }
}

static void what_served_is_tried_first_unless_better_is_there(void **unused)
{
    (void)unused;
    static const uint8_t levels[] = {0, 0, 1};
    struct weir_route route;
    weir_route_init(&route, levels, 3, 0);
    assert_false(weir_route_failed(&route)); // 0 is down, 1 serves
    assert_int_equal(weir_route_arrived(&route), WEIR_ROUTE_AWAY);
    assert_int_equal(weir_route_preferred(&route), 1); // its own first choice is
    weir_route_broke(&route);
    assert_int_equal(route.endpoint, 1);
    assert_false(weir_route_failed(&route));
    assert_false(weir_route_failed(&route)); // 0 too: the backup
    assert_int_equal(route.endpoint, 2);
    assert_int_equal(weir_route_preferred(&route), 2);
    weir_route_broke(&route);
    assert_int_equal(route.endpoint, 0);
    assert_int_equal(weir_route_arrived(&route), WEIR_ROUTE_BACK);
    assert_int_equal(weir_route_preferred(&route), 0);
}

static void return_to_worse(void *unused)
{
    (void)unused;
    static const uint8_t levels[] = {0, 1};
    struct weir_route route;
    weir_route_init(&route, levels, 2, 0);
    weir_route_return(&route, 1);
}

static void falling_levels(void *unused)
{
    (void)unused;
    static const uint8_t levels[] = {1, 0};
    struct weir_route route;
    weir_route_init(&route, levels, 2, 0);
}

static void slips_abort(void **unused)
{
    (void)unused;
    test_expect_abort(return_to_worse, NULL);
    test_expect_abort(falling_levels, NULL);
}

// ---- Addresses ----

static struct weir_address address_of(uint8_t value)
{
    struct weir_address address = {.bytes_count = 4};
    memset(address.bytes, value, sizeof(address.bytes)); // beyond the length: of no meaning
    memset(address.bytes, value, 3);
    return address;
}

static void addresses_turn(void **unused)
{
    (void)unused;
    for (uint8_t count = 0; count <= 8; count++) {
        for (uint8_t first = 0; first <= count; first++) {
            struct weir_address addresses[8];
            for (uint8_t i = 0; i < count; i++) {
                addresses[i] = address_of(i);
            }
            struct weir_address wanted = address_of(first);
            memset(wanted.bytes + 4, 0xee, sizeof(wanted.bytes) - 4);
            weir_route_turn(addresses, count, &wanted);
            for (uint8_t i = 0; i < count; i++) {
                // The last round asks for one that is not there: nothing changes.
                int expected = first == count ? i : (first + i) % count;
                assert_int_equal(addresses[i].bytes[0], expected);
            }
        }
    }
}

static void no_address_is_like_none(void **unused)
{
    (void)unused;
    struct weir_address addresses[2] = {address_of(1), address_of(2)};
    struct weir_address none = {.bytes_count = 0};
    weir_route_turn(addresses, 2, &none);
    assert_int_equal(addresses[0].bytes[0], 1);
    struct weir_address longer = address_of(2);
    longer.bytes_count = 5;
    weir_route_turn(addresses, 2, &longer);
    assert_int_equal(addresses[0].bytes[0], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_through_small_lists),
        cmocka_unit_test(long_walks_through_long_lists),
        cmocka_unit_test(orders_keep_levels_and_spread),
        cmocka_unit_test(a_lost_alternative_is_replaced_on_its_level),
        cmocka_unit_test(what_served_is_tried_first_unless_better_is_there),
        cmocka_unit_test(slips_abort),
        cmocka_unit_test(addresses_turn),
        cmocka_unit_test(no_address_is_like_none),
    };
    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
