// What the simulator costs: a preemption point, and runs and virtual seconds per second.
//
// One core. VARIANT=sim measures the fine grain, other variants the coarse one. Each figure is the
// median of three, taken in turns over all rows.
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "sim/scenarios.h"

#define SAMPLES 3
#define SAMPLE_NS 300000000ull
#define POINTS 100000

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// ---- Points ----

struct spinner {
    _Atomic uint32_t word;
    uint32_t plain;
};

static void load_many(void *argument)
{
    struct spinner *spinner = argument;
    for (uint32_t i = 0; i < POINTS; i++) {
        (void)atomic_load_explicit(&spinner->word, memory_order_relaxed);
    }
}

static void points_alone(struct weir_sim *sim)
{
    (void)sim;
    struct spinner spinner = {.word = 0};
    load_many(&spinner);
}

static void points_two(struct weir_sim *sim)
{
    struct spinner spinner = {.word = 0};
    uint32_t actor = weir_sim_start(sim, load_many, &spinner);
    load_many(&spinner);
    weir_sim_join(sim, actor);
}

static void points_add(struct weir_sim *sim)
{
    (void)sim;
    struct spinner spinner = {.word = 0};
    for (uint32_t i = 0; i < POINTS; i++) {
        (void)atomic_fetch_add_explicit(&spinner.word, 1, memory_order_acq_rel);
    }
}

static void points_plain(struct weir_sim *sim)
{
    (void)sim;
    struct spinner spinner = {.word = 0};
    volatile uint32_t *plain = &spinner.plain;
    for (uint32_t i = 0; i < POINTS; i++) {
        *plain = i;
    }
}

static const struct weir_sim_scenario points[] = {
    {.name = "load, one thread", .run = points_alone},
    {.name = "load, two threads", .run = points_two},
    {.name = "add, one thread", .run = points_add},
    {.name = "plain write", .run = points_plain},
};

// ---- Rows ----

struct row {
    const struct weir_sim_scenario *scenario;
    enum weir_sim_strategy strategy;
    uint64_t next_seed;
    double runs_per_s[SAMPLES], virtual_per_s[SAMPLES], step_ns[SAMPLES];
    uint64_t failures;
};

static int order(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median(double *samples)
{
    qsort(samples, SAMPLES, sizeof samples[0], order);
    return samples[SAMPLES / 2];
}

static void row_sample(struct weir_sim *sim, struct row *row, int sample)
{
    uint64_t start = now_ns(), runs = 0, steps = 0, virtual_ns = 0;
    do {
        struct weir_sim_options options = {.seed = row->next_seed++, .strategy = row->strategy};
        struct weir_sim_result result;
        weir_sim_run(sim, row->scenario, &options, &result);
        row->failures += result.verdict != WEIR_SIM_PASS;
        runs++;
        steps += result.steps;
        virtual_ns += result.duration_ns;
    } while (now_ns() - start < SAMPLE_NS);
    double took_ns = (double)(now_ns() - start);
    row->runs_per_s[sample] = (double)runs * 1e9 / took_ns;
    row->virtual_per_s[sample] = (double)virtual_ns / took_ns;
    row->step_ns[sample] = took_ns / (double)(steps == 0 ? 1 : steps);
}

static void points_print(struct weir_sim *sim)
{
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        struct row row = {.scenario = &points[i], .strategy = WEIR_SIM_BENIGN};
        double samples[SAMPLES];
        for (int sample = 0; sample < SAMPLES; sample++) {
            row_sample(sim, &row, sample);
            samples[sample] = 1e9 / (row.runs_per_s[sample] * POINTS);
        }
        printf("  %-32s %8.1f ns\n", points[i].name, median(samples));
    }
}

static size_t rows_fill(struct row *rows, size_t rows_max)
{
    size_t count = 0;
#define ROWS_OF(noun)                                                                              \
    for (size_t i = 0; sim_scenarios_##noun[i].name != NULL; i++) {                                \
        const struct weir_sim_scenario *scenario = &sim_scenarios_##noun[i];                       \
        if (count < rows_max && scenario->expects == WEIR_SIM_PASS &&                              \
            (weir_sim_fine() || !scenario->fine_only)) {                                           \
            rows[count++] = (struct row){.scenario = scenario};                                    \
        }                                                                                          \
    }
    SIM_SCENARIO_FILES(ROWS_OF)
#undef ROWS_OF
    return count;
}

int main(void)
{
    enum { ROWS_MAX = 256 };
    static struct row rows[ROWS_MAX];
    struct weir_sim *sim = weir_sim_create();
    if (sim == NULL) {
        fprintf(stderr, "no memory\n");
        return 1;
    }
    printf("%s grain, one core, medians of %d\n", weir_sim_fine() ? "fine" : "coarse", SAMPLES);
    if (weir_sim_fine()) {
        points_print(sim);
    }
    size_t count = rows_fill(rows, ROWS_MAX);
    for (int sample = 0; sample < SAMPLES; sample++) {
        for (size_t i = 0; i < count; i++) {
            row_sample(sim, &rows[i], sample);
        }
    }
    printf("  %-32s %10s %14s %10s\n", "scenario", "runs/s", "virtual s/s", "ns/point");
    uint64_t failures = 0;
    for (size_t i = 0; i < count; i++) {
        failures += rows[i].failures;
        printf("  %-32s %10.0f %14.2f %10.1f%s\n", rows[i].scenario->name,
               median(rows[i].runs_per_s), median(rows[i].virtual_per_s), median(rows[i].step_ns),
               rows[i].failures > 0 ? "  FAILED RUNS" : "");
    }
    weir_sim_destroy(sim);
    return failures > 0;
}
