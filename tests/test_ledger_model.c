// Tests of the ledger against a model of the kernel's Unix socket queue, in all short schedules.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>

#include "tests/support_random.h"
#include "writer/ledger.h"

// The kernel memory of one buffer, as measured on Linux 6 (x86-64).
static uint64_t truesize(uint64_t bytes)
{
    uint64_t paged = bytes > 3776 ? (bytes - 3776 + 4095) / 4096 * 4096 : 0;
    uint64_t head = bytes > paged ? bytes - paged : 0;
    uint64_t base = head <= 192 ? 768 : head <= 704 ? 1280 : head <= 1728 ? 2304 : 4352;
    return base + paged;
}

// The model: the sender's socket, the queue in the peer, and the peer's way to die. `count` is what
// SIOCOUTQ reports. Every field changes in steps small enough to look in between.
enum { MODEL_SKBS_MAX = 1024, SKB_BYTES_MAX = 36544, SEND_BUFFER = 212992 };

enum peer_life { PEER_ALIVE, PEER_DEAD, PEER_HUNG_UP, PEER_ERROR_SET, PEER_PURGED };

struct model {
    uint64_t payload[MODEL_SKBS_MAX]; // not yet copied by the peer
    uint64_t memory[MODEL_SKBS_MAX];
    uint32_t first, skbs;
    uint64_t written, read, count;
    uint64_t freeing; // what a reader has still to take off the count: nothing, a buffer, or 1
    enum peer_life life;
    bool had_unread;
    int error; // pending, one-shot
};

static uint64_t model_send(struct model *model, uint64_t bytes)
{
    uint64_t sent = 0;

    if (model->life != PEER_ALIVE) {
        return 0;
    }
    while (sent < bytes && model->count < SEND_BUFFER && model->skbs < MODEL_SKBS_MAX) {
        uint64_t part = bytes - sent < SKB_BYTES_MAX ? bytes - sent : SKB_BYTES_MAX;
        uint32_t slot = (model->first + model->skbs++) % MODEL_SKBS_MAX;
        model->payload[slot] = part;
        model->memory[slot] = truesize(part);
        model->count += truesize(part);
        sent += part;
    }
    model->written += sent;
    return sent;
}

// The second half of the kernel's two-step freeing. Whatever the reader does next comes after it.
static void model_free(struct model *model)
{
    if (model->freeing > 1) {
        model->count -= model->freeing - 1;
        model->freeing = 1;
    } else {
        model->count -= model->freeing;
        model->freeing = 0;
    }
}

// The peer copies up to `bytes` out of its oldest buffer.
static void model_read(struct model *model, uint64_t bytes)
{
    uint32_t slot = model->first;

    if (model->life != PEER_ALIVE || model->skbs == 0) {
        return;
    }
    while (model->freeing > 0) {
        model_free(model);
    }
    if (bytes > model->payload[slot]) {
        bytes = model->payload[slot];
    }
    model->payload[slot] -= bytes;
    model->read += bytes;
    if (model->payload[slot] == 0) {
        model->freeing = model->memory[slot];
        model->first = (slot + 1) % MODEL_SKBS_MAX;
        model->skbs--;
    }
}

// One step on the peer's way to its grave.
static void model_die(struct model *model)
{
    switch (model->life) {
    case PEER_ALIVE:
        while (model->freeing > 0) {
            model_free(model);
        }
        model->had_unread = model->skbs > 0;
        model->life = PEER_DEAD;
        break;
    case PEER_DEAD:
        model->life = PEER_HUNG_UP;
        break;
    case PEER_HUNG_UP:
        model->error = model->had_unread ? ECONNRESET : 0;
        model->life = PEER_ERROR_SET;
        break;
    case PEER_ERROR_SET:
        if (model->freeing > 0) {
            model_free(model);
        } else if (model->skbs > 0) {
            model->freeing = model->memory[model->first];
            model->first = (model->first + 1) % MODEL_SKBS_MAX;
            model->skbs--;
        } else {
            model->life = PEER_PURGED;
        }
        break;
    case PEER_PURGED:
        break;
    }
}

static bool model_alive(const struct model *model)
{
    return model->life < PEER_HUNG_UP;
}

static int model_take_error(struct model *model)
{
    int error = model->error;
    model->error = 0;
    return error;
}

static void model_reset(struct model *model)
{
    // The queue's slots need no clearing: they are written before they are read.
    model->first = model->skbs = 0;
    model->written = model->read = model->count = model->freeing = 0;
    model->life = PEER_ALIVE;
    model->had_unread = false;
    model->error = 0;
}

static void check_books(const struct weir_ledger *ledger, const struct model *model, uint64_t last)
{
    assert_true(ledger->confirmed >= last);
    assert_true(ledger->confirmed <= ledger->written);
    assert_int_equal(ledger->written, model->written);
    assert_true(ledger->confirmed <= model->read);
}

static void test_unix_confirms_whole_sends(void **state)
{
    static struct model model;
    struct weir_ledger ledger;
    (void)state;
    model_reset(&model);
    weir_ledger_init(&ledger, WEIR_LEDGER_UNIX);
    for (int i = 0; i < 278; i++) {
        assert_int_equal(model_send(&model, 100), 100);
        weir_ledger_sent(&ledger, 100, model.count);
    }
    assert_int_equal(model_send(&model, 100), 0); // full: the figure behind WEIR_LEDGER_UNITS_MAX
    for (uint64_t i = 0; i < 278; i++) {
        model_read(&model, 99);
        assert_int_equal(weir_ledger_sample(&ledger, model.count, true), i * 100);
        model_read(&model, 1);
        assert_int_equal(weir_ledger_sample(&ledger, model.count, true), i * 100);
        model_free(&model); // all of it but 1: only at the very end does that say enough
        assert_int_equal(weir_ledger_sample(&ledger, model.count, true),
                         i < 277 ? i * 100 : 27800 - 1);
        model_free(&model);
        assert_int_equal(weir_ledger_sample(&ledger, model.count, true), i * 100 + 100);
    }
    assert_int_equal(ledger.count, 0);
    assert_int_equal(ledger.cost, 0);
}

// What a sender does in pieces: a count is one step, and what it is used for a later one.
struct sender {
    struct weir_ledger ledger;
    uint64_t sent;    // > 0: a send whose count is still to be taken
    uint64_t count;   // of the sample under way
    bool looked;      // of the sample under way, when looking first
    bool sampling;
};

enum action { SEND_SMALL, SEND_TWO_BUFFERS, READ_PART, READ_ALL, FREE, COUNT, LOOK, DIE, ACTIONS };

static void step_send(struct sender *sender, struct model *model, uint64_t bytes)
{
    if (sender->sent == 0) {
        sender->sent = model_send(model, bytes);
        if (sender->sent == 0 && model->life > PEER_HUNG_UP && (bytes & 1) != 0) {
            weir_ledger_error(&sender->ledger, -model_take_error(model)); // send may eat it
        }
    }
}

static void step_count(struct sender *sender, struct model *model)
{
    if (sender->sent > 0) {
        weir_ledger_sent(&sender->ledger, sender->sent, model->count);
        sender->sent = 0;
    } else if (!sender->sampling) {
        sender->count = model->count;
        sender->looked = model_alive(model); // what a wrong order would have seen or missed
        sender->sampling = true;
    }
}

static void step_look(struct sender *sender, struct model *model)
{
    if (sender->sampling) {
        uint64_t last = sender->ledger.confirmed;
        weir_ledger_sample(&sender->ledger, sender->count, model_alive(model));
        check_books(&sender->ledger, model, last);
        sender->sampling = false;
    }
}

static void step_any(struct sender *sender, struct model *model, enum action action, uint64_t bytes)
{
    // Between a send and its count the sender does nothing else; the peer may do everything.
    bool busy = sender->sent > 0 || sender->sampling;
    switch (action) {
    case SEND_SMALL:
        if (!busy) {
            step_send(sender, model, 1 + bytes % 800);
        }
        break;
    case SEND_TWO_BUFFERS:
        if (!busy) {
            step_send(sender, model, 1 + bytes % (2 * SKB_BYTES_MAX));
        }
        break;
    case READ_PART:
        model_read(model, 1 + bytes % 300);
        break;
    case READ_ALL:
        model_read(model, UINT64_MAX);
        break;
    case FREE:
        model_free(model);
        break;
    case COUNT:
        step_count(sender, model);
        break;
    case LOOK:
        step_look(sender, model);
        break;
    case DIE:
        model_die(model);
        break;
    case ACTIONS:
        break;
    }
}

// Ends a run: dead or alive, the last word of the ledger must be true, and complete when it can be.
static void finish(struct sender *sender, struct model *model)
{
    uint64_t last = sender->ledger.confirmed;

    if (sender->sent > 0) {
        step_count(sender, model);
    }
    step_look(sender, model);
    if (model->life == PEER_ALIVE) {
        while (model->skbs > 0) {
            model_read(model, UINT64_MAX);
        }
        model_free(model);
        model_free(model);
        assert_int_equal(weir_ledger_sample(&sender->ledger, model->count, true), model->written);
    } else {
        uint64_t count = model->count;
        while (model->life != PEER_PURGED) {
            model_die(model); // the count is taken before the error, whatever happens between
        }
        weir_ledger_died(&sender->ledger, count, model_take_error(model));
        if (count == 0 && !model->had_unread) {
            assert_int_equal(sender->ledger.confirmed, model->written);
        }
    }
    check_books(&sender->ledger, model, last);
}

static void test_every_short_schedule(void **state)
{
    enum { LENGTH = 7 };
    static const enum action prefix[] = {SEND_SMALL, COUNT};
    static struct sender sender;
    static struct model model;
    unsigned char actions[LENGTH] = {0};
    unsigned digit = 0;
    (void)state;
    while (digit < LENGTH) {
        model_reset(&model);
        weir_ledger_init(&sender.ledger, WEIR_LEDGER_UNIX);
        sender.sent = 0;
        sender.sampling = false;
        step_any(&sender, &model, prefix[0], 99);
        step_any(&sender, &model, prefix[1], 0);
        for (unsigned i = 0; i < LENGTH; i++) {
            step_any(&sender, &model, (enum action)actions[i], 199 + 40000 * (i & 1));
        }
        finish(&sender, &model);
        for (digit = 0; digit < LENGTH && ++actions[digit] == ACTIONS; digit++) {
            actions[digit] = 0;
        }
    }
}

static void test_random_schedules(void **state)
{
    enum { RUNS = 20000 };
    static struct sender sender;
    static struct model model;
    uint64_t seed = seed_get();
    uint64_t mid_life = 0, at_death = 0;
    (void)state;
    for (int run = 0; run < RUNS; run++) {
        uint64_t steps = 20 + random_below(&seed, 400);
        uint64_t deadly = random_below(&seed, 3) == 0 ? steps : random_below(&seed, steps);
        uint64_t haste = 1 + random_below(&seed, 6); // how often the reader gets a turn
        model_reset(&model);
        weir_ledger_init(&sender.ledger, WEIR_LEDGER_UNIX);
        sender.sent = 0;
        sender.sampling = false;
        for (uint64_t i = 0; i < steps; i++) {
            enum action action = (enum action)random_below(&seed, DIE);
            if (action >= READ_PART && action <= FREE && random_below(&seed, haste) != 0) {
                action = random_below(&seed, 3) != 0 ? COUNT : LOOK;
            }
            if (i >= deadly && random_below(&seed, 2) == 0) {
                action = DIE;
            }
            step_any(&sender, &model, action, random_next(&seed));
            mid_life += sender.ledger.confirmed > 0 && sender.ledger.confirmed < model.written;
        }
        finish(&sender, &model);
        at_death += model.life != PEER_ALIVE && sender.ledger.confirmed < model.read;
    }
    // The runs were not idle: partial confirmation happened, and so did deaths that hid a read.
    assert_true(mid_life > RUNS);
    assert_true(at_death > RUNS / 100);
}

// The same model must catch the two wrong orders, or its silence about the right one means nothing.
static void test_the_model_catches_wrong_orders(void **state)
{
    struct weir_ledger look_first, error_first;
    static struct model model;
    (void)state;
    model_reset(&model);
    weir_ledger_init(&look_first, WEIR_LEDGER_UNIX);
    weir_ledger_init(&error_first, WEIR_LEDGER_UNIX);
    model_send(&model, 100);
    weir_ledger_sent(&look_first, 100, model.count);
    weir_ledger_sent(&error_first, 100, model.count);

    bool alive = model_alive(&model);
    model_die(&model);
    model_die(&model);
    assert_false(model_alive(&model)); // hung up, and yet no error: SO_ERROR read now is too early
    int error = model.error;
    while (model.life != PEER_PURGED) {
        model_die(&model);
    }
    assert_int_equal(weir_ledger_sample(&look_first, model.count, alive), 100);
    assert_int_equal(weir_ledger_died(&error_first, model.count, error), 100);
    assert_int_equal(model.read, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unix_confirms_whole_sends),
        cmocka_unit_test(test_every_short_schedule),
        cmocka_unit_test(test_random_schedules),
        cmocka_unit_test(test_the_model_catches_wrong_orders),
    };
    return cmocka_run_group_tests_name("ledger_model", tests, NULL, NULL);
}
