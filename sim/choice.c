// Decisions: counting, the fast path, and who is asked when an answer may be other than 0.
//
// Each rate has a countdown of decisions that are still benign, so that most cost a decrement. The
// seeded source draws it anew after each deviation; sources that must look at every decision keep
// it at 0; a kind that may not deviate has one that never ends.
#include "sim/choice.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/assert.h"
#include "sim/random.h"
#include "sim/replay.h"
#include "sim/search.h"
#include "sim/strategy.h"
#include "sim/swarm.h"

#define NEVER UINT64_MAX

// A rate per kind, and one for the order in which threads follow one that cannot go on.
#define RATE_WAKE WEIR_SIM_KINDS_COUNT
#define RATES_COUNT (WEIR_SIM_KINDS_COUNT + 1)

// Streams that belong to no kind; swarm.c has another.
#define STREAM_WAKE 1001
#define STREAM_STRATEGY 1002
#define STREAM_POINTS 1003
// One of so many seeds switches at calls only, where there are peers to call.
#define CALLS_ONLY 3
#define PEER_KINDS (1u << WEIR_SIM_SEND | 1u << WEIR_SIM_PEER)

enum source { SOURCE_SEED, SOURCE_REPLAY, SOURCE_BYTES, SOURCE_SEARCH };

struct sim_choices {
    uint64_t countdowns[RATES_COUNT];
    uint32_t numbers[SIM_THREADS_MAX][WEIR_SIM_KINDS_COUNT];
    uint32_t actors_count; // rows of `numbers` in use in this run; others hold what a past one left
    uint32_t kinds;
    uint64_t count;
    enum source source;
    bool healed;
    bool steered;    // threads are chosen by a strategy with points of its own
    bool calls_only; // they are chosen at calls, not before atomic operations
    bool drawing;    // bytes: the workload's draws that no record answers are the seed's
    struct weir_sim_deviation *deviations;
    size_t deviations_count;
    size_t deviations_max;

    struct sim_swarm_kind swarm[RATES_COUNT];
    struct sim_chance chances[RATES_COUNT];
    bool drawn[RATES_COUNT]; // whether the chance is made and the countdown drawn: at first use
    struct sim_strategy strategy;
    struct sim_replay replay;
    struct sim_search search;
};

struct sim_choices *sim_choices_create(void)
{
    struct sim_choices *choices = calloc(1, sizeof(*choices));
    if (choices != NULL) {
        sim_replay_init(&choices->replay);
    }
    return choices;
}

void sim_choices_destroy(struct sim_choices *choices)
{
    if (choices != NULL) {
        sim_replay_deinit(&choices->replay);
        sim_search_deinit(&choices->search);
        free(choices->deviations);
        free(choices);
    }
}

// ---- Beginning a run ----

static bool kind_allowed(const struct sim_choices *choices, uint32_t kind)
{
    return kind == WEIR_SIM_WORK || (choices->kinds >> kind & 1) != 0;
}

// Every decision of these kinds goes to the source, no other does.
static void begin_asking(struct sim_choices *choices, enum source source, uint32_t kinds)
{
    choices->source = source;
    choices->steered = false;
    for (uint32_t kind = 0; kind < WEIR_SIM_KINDS_COUNT; kind++) {
        bool asked = kind_allowed(choices, kind) && (kinds >> kind & 1) != 0;
        choices->countdowns[kind] = asked ? 0 : NEVER;
    }
    choices->countdowns[RATE_WAKE] = choices->countdowns[WEIR_SIM_SWITCH];
}

// The chance is made when the first decision comes: most runs meet few of the kinds.
static void rate_set(struct sim_choices *choices, uint32_t rate, struct sim_rate value)
{
    choices->swarm[rate].rate = value;
    choices->drawn[rate] = false;
    choices->countdowns[rate] = value.numerator == 0 ? NEVER : 0;
}

static void begin_seeded(struct sim_choices *choices, uint64_t seed, enum weir_sim_strategy wanted)
{
    struct sim_strategy *strategy = &choices->strategy;
    choices->source = SOURCE_SEED;
    sim_swarm_draw(choices->swarm, seed);
    choices->swarm[RATE_WAKE].random = sim_random_stream(seed, STREAM_WAKE);
    sim_strategy_draw(strategy, wanted, sim_random_stream(seed, STREAM_STRATEGY));
    struct sim_random points = sim_random_stream(seed, STREAM_POINTS);
    strategy->calls_only = choices->calls_only =
        (choices->kinds & PEER_KINDS) != 0 && sim_random_below(&points, CALLS_ONLY) == 0;
    const struct sim_rate never = {0, 1};
    bool switching = kind_allowed(choices, WEIR_SIM_SWITCH);
    bool walking = switching && strategy->kind == WEIR_SIM_RANDOM;
    choices->steered =
        switching && (strategy->kind == WEIR_SIM_PCT || strategy->kind == WEIR_SIM_DELAY_BOUNDED);
    choices->swarm[WEIR_SIM_SWITCH].rate = walking ? strategy->switches : never;
    choices->swarm[RATE_WAKE].rate = walking ? strategy->wakes : never;
    for (uint32_t rate = 0; rate < RATES_COUNT; rate++) {
        bool on = rate == RATE_WAKE || kind_allowed(choices, rate);
        bool quiet = strategy->kind == WEIR_SIM_BENIGN;
        rate_set(choices, rate, on && !quiet ? choices->swarm[rate].rate : never);
    }
    choices->countdowns[WEIR_SIM_WORK] = 0;
}

static void begin(struct sim_choices *choices, uint32_t kinds)
{
    choices->actors_count = 0;
    choices->kinds = kinds == 0 ? UINT32_MAX : kinds;
    choices->count = 0;
    choices->healed = false;
    choices->calls_only = false;
    choices->deviations_count = 0;
}

void sim_choices_begin(struct sim_choices *choices, const struct weir_sim_options *options,
                       uint32_t kinds)
{
    begin(choices, kinds);
    if (options->deviations != NULL) {
        sim_replay_begin(&choices->replay, options->deviations, options->deviations_count);
        begin_asking(choices, SOURCE_REPLAY, choices->replay.kinds);
    } else if (options->bytes != NULL) {
        sim_replay_begin_bytes(&choices->replay, options->bytes, options->bytes_count);
        begin_asking(choices, SOURCE_BYTES, choices->replay.kinds);
        choices->drawing = options->seed != 0;
        if (choices->drawing) {
            choices->swarm[WEIR_SIM_WORK].random = sim_random_stream(options->seed, WEIR_SIM_WORK);
            choices->countdowns[WEIR_SIM_WORK] = 0;
        }
    } else {
        begin_seeded(choices, options->seed, options->strategy);
    }
}

void sim_choices_begin_search(struct sim_choices *choices, uint32_t kinds)
{
    weir_assert(choices->search.active);
    begin(choices, kinds);
    begin_asking(choices, SOURCE_SEARCH, UINT32_MAX);
}

// ---- Answers ----

// Whether the decision just met is the one the countdown was for; draws the next one then.
static bool chance_strikes(struct sim_choices *choices, uint32_t rate)
{
    struct sim_random *random = &choices->swarm[rate].random;
    uint64_t *countdown = &choices->countdowns[rate];
    if (!choices->drawn[rate]) {
        choices->drawn[rate] = true;
        sim_chance_init(&choices->chances[rate], choices->swarm[rate].rate);
        *countdown = sim_chance_gap(&choices->chances[rate], random);
        if (*countdown > 0) {
            (*countdown)--;
            return false;
        }
    }
    *countdown = sim_chance_gap(&choices->chances[rate], random);
    return true;
}

static uint32_t seed_answer(struct sim_choices *choices, uint32_t kind, uint32_t rate,
                            uint32_t options)
{
    struct sim_random *random = &choices->swarm[rate].random;
    if (kind == WEIR_SIM_WORK) {
        return (uint32_t)sim_random_below(random, options);
    }
    if (!chance_strikes(choices, rate)) {
        return 0;
    }
    return 1 + (uint32_t)sim_random_below(random, options - 1);
}

// A draw is made even where a record answers: the ones after it stay as they are.
static uint32_t bytes_answer(struct sim_choices *choices, uint32_t kind, uint32_t actor,
                             uint32_t number, uint32_t options)
{
    bool draws = choices->drawing && kind == WEIR_SIM_WORK;
    struct sim_random *random = &choices->swarm[WEIR_SIM_WORK].random;
    uint32_t drawn = draws ? (uint32_t)sim_random_below(random, options) : 0;
    uint32_t value = sim_replay_answer(&choices->replay, kind, actor, number, options);
    return value != 0 ? value : drawn;
}

static void deviation_record(struct sim_choices *choices, uint32_t kind, uint32_t actor,
                             uint32_t number, uint32_t value)
{
    if (value == 0) {
        return;
    }
    if (choices->deviations_count == choices->deviations_max) {
        choices->deviations_max = choices->deviations_max == 0 ? 256 : 2 * choices->deviations_max;
        choices->deviations =
            realloc(choices->deviations, choices->deviations_max * sizeof(choices->deviations[0]));
        weir_assert(choices->deviations != NULL); // a run without its record cannot be replayed
    }
    choices->deviations[choices->deviations_count++] =
        (struct weir_sim_deviation){kind, actor, number, value};
}

static __attribute__((noinline)) uint32_t source_answer(struct sim_choices *choices, uint32_t kind,
                                                        uint32_t rate, uint32_t actor,
                                                        uint32_t number, uint32_t options)
{
    uint32_t value = 0;
    switch (choices->source) {
    case SOURCE_SEED: value = seed_answer(choices, kind, rate, options); break;
    case SOURCE_REPLAY:
        value = sim_replay_answer(&choices->replay, kind, actor, number, options);
        break;
    case SOURCE_BYTES: value = bytes_answer(choices, kind, actor, number, options); break;
    case SOURCE_SEARCH: value = sim_search_answer(&choices->search, options); break;
    }
    deviation_record(choices, kind, actor, number, value);
    return value;
}

// The number of the decision, which is counted.
static inline uint32_t decision_number(struct sim_choices *choices, uint32_t kind, uint32_t actor)
{
    if (__builtin_expect(actor >= choices->actors_count, 0)) {
        weir_assert(actor < SIM_THREADS_MAX);
        memset(choices->numbers[choices->actors_count], 0,
               (actor + 1 - choices->actors_count) * sizeof(choices->numbers[0]));
        choices->actors_count = actor + 1;
    }
    choices->count++;
    return choices->numbers[actor][kind]++;
}

static inline uint32_t answer(struct sim_choices *choices, uint32_t kind, uint32_t rate,
                              uint32_t actor, uint32_t options)
{
    uint32_t number = decision_number(choices, kind, actor);
    uint64_t *countdown = &choices->countdowns[rate];
    if (__builtin_expect(*countdown != 0, 1)) {
        (*countdown)--;
        return 0;
    }
    return source_answer(choices, kind, rate, actor, number, options);
}

uint32_t sim_choose(struct sim_choices *choices, enum weir_sim_kind kind, uint32_t actor,
                    uint32_t options)
{
    weir_assert((uint32_t)kind < WEIR_SIM_KINDS_COUNT && options >= 1);
    return options == 1 ? 0 : answer(choices, kind, kind, actor, options);
}

uint32_t sim_choose_thread(struct sim_choices *choices, uint32_t current, const uint8_t *actors,
                           uint32_t actors_count, bool yielded)
{
    weir_assert(actors_count >= 1);
    if (actors_count == 1) {
        return 0;
    }
    if (!choices->steered) {
        uint32_t rate = actors[0] == current ? (uint32_t)WEIR_SIM_SWITCH : RATE_WAKE;
        return answer(choices, WEIR_SIM_SWITCH, rate, current, actors_count);
    }
    uint32_t number = decision_number(choices, WEIR_SIM_SWITCH, current);
    uint32_t value =
        sim_strategy_choose(&choices->strategy, current, actors, actors_count, yielded);
    deviation_record(choices, WEIR_SIM_SWITCH, current, number, value);
    return value;
}

bool sim_choose_none(struct sim_choices *choices, uint32_t current)
{
    if (__builtin_expect(!choices->calls_only, 1)) {
        return false;
    }
    (void)decision_number(choices, WEIR_SIM_SWITCH, current);
    return true;
}

void sim_choices_thread(struct sim_choices *choices, uint32_t actor)
{
    if (choices->steered && actor != 0) {
        sim_strategy_thread(&choices->strategy, actor);
    }
}

// ---- The run's own wishes ----

void sim_choices_rate(struct sim_choices *choices, enum weir_sim_kind kind, uint32_t per_million)
{
    weir_assert((uint32_t)kind < WEIR_SIM_KINDS_COUNT);
    bool seeded = choices->source == SOURCE_SEED && choices->strategy.kind != WEIR_SIM_BENIGN;
    if (seeded && !choices->healed && kind != WEIR_SIM_WORK && kind_allowed(choices, kind)) {
        const uint32_t million = 1000000;
        rate_set(choices, kind,
                 (struct sim_rate){per_million < million ? per_million : million, million});
    }
}

void sim_choices_heal(struct sim_choices *choices)
{
    choices->healed = true;
    choices->steered = false;
    choices->calls_only = false;
    for (uint32_t rate = 0; rate < RATES_COUNT; rate++) {
        if (rate != WEIR_SIM_WORK) {
            choices->countdowns[rate] = NEVER;
        }
    }
}

bool sim_choices_healed(const struct sim_choices *choices)
{
    return choices->healed;
}

// ---- The record ----

const struct weir_sim_deviation *sim_choices_deviations(const struct sim_choices *choices,
                                                        size_t *count)
{
    *count = choices->deviations_count;
    return choices->deviations;
}

uint64_t sim_choices_count(const struct sim_choices *choices)
{
    return choices->count;
}

uint32_t sim_choices_number(const struct sim_choices *choices, uint32_t kind, uint32_t actor)
{
    return actor < choices->actors_count ? choices->numbers[actor][kind] : 0;
}

bool sim_choices_unused(const struct sim_choices *choices, struct weir_sim_deviation *deviation)
{
    return choices->source == SOURCE_REPLAY && sim_replay_unused(&choices->replay, deviation);
}

void sim_choices_describe(const struct sim_choices *choices, char *text, size_t text_bytes)
{
#define LABEL(name, label, about) label,
    static const char *const labels[RATES_COUNT] = {WEIR_SIM_KINDS(LABEL) "wake"};
#undef LABEL
    switch (choices->source) {
    case SOURCE_SEED: break;
    case SOURCE_REPLAY:
        snprintf(text, text_bytes, "strategy=replay deviations=%zu", choices->replay.entries_count);
        return;
    case SOURCE_BYTES:
        snprintf(text, text_bytes, "strategy=bytes records=%zu", choices->replay.entries_count);
        return;
    case SOURCE_SEARCH:
        snprintf(text, text_bytes, "strategy=search deviations_max=%" PRIu32,
                 choices->search.deviations_max);
        return;
    }
    sim_strategy_describe(&choices->strategy, text, text_bytes);
    for (uint32_t rate = 0; rate < RATES_COUNT; rate++) {
        sim_rate_describe(choices->swarm[rate].rate, labels[rate], text, text_bytes);
    }
    if (choices->strategy.calls_only) {
        size_t used = strlen(text);
        snprintf(text + used, text_bytes - used, " at=calls");
    }
}

// ---- Search ----

void sim_choices_search(struct sim_choices *choices, uint32_t deviations_max)
{
    sim_search_start(&choices->search, deviations_max);
}

bool sim_choices_searching(const struct sim_choices *choices)
{
    return choices->search.active;
}

bool sim_choices_next(struct sim_choices *choices)
{
    weir_assert(choices->search.active);
    return sim_search_next(&choices->search);
}

void sim_choices_search_end(struct sim_choices *choices)
{
    choices->search.active = false;
}
