// Random numbers of a run: streams and chances, in integers only, so equal on every platform.
#ifndef WEIR_SIM_RANDOM_H
#define WEIR_SIM_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct sim_random {
    uint64_t state;
};

// Streams of one seed: equal (seed, number) give equal streams, others unrelated ones.
struct sim_random sim_random_stream(uint64_t seed, uint32_t number);

// splitmix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
static inline uint64_t sim_random_next(struct sim_random *random)
{
    uint64_t bits = random->state += UINT64_C(0x9e3779b97f4a7c15);
    bits = (bits ^ (bits >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ (bits >> 27)) * UINT64_C(0x94d049bb133111eb);
    return bits ^ (bits >> 31);
}

// The high half of the product: two fractions of 2^64 multiplied.
static inline uint64_t sim_random_multiply(uint64_t one, uint64_t other)
{
    return (uint64_t)(((unsigned __int128)one * other) >> 64);
}

// 0 .. limit - 1; limit >= 1. The bias, limit / 2^64, is beyond what any number of runs could show.
static inline uint64_t sim_random_below(struct sim_random *random, uint64_t limit)
{
    return sim_random_multiply(sim_random_next(random), limit);
}

// 2^low .. 2^high, evenly over the magnitudes: each doubling is as likely as any other.
uint32_t sim_random_magnitude(struct sim_random *random, uint32_t low, uint32_t high);

// An event of probability numerator / denominator per trial. A fraction from 0 to 1.
struct sim_rate {
    uint32_t numerator;
    uint32_t denominator;
};

// Appends " label=1/300", reduced; nothing if the rate is 0.
void sim_rate_describe(struct sim_rate rate, const char *label, char *text, size_t text_bytes);

// A rate made ready for drawing how long until the event comes.
struct sim_chance {
    uint32_t powers_count;
    uint64_t powers[32]; // [i]: the probability of 2^i trials without the event, times 2^64
};

// rate.numerator >= 1.
void sim_chance_init(struct sim_chance *chance, struct sim_rate rate);
// How many trials pass without the event before the one with it: geometrically distributed.
uint64_t sim_chance_gap(const struct sim_chance *chance, struct sim_random *random);

#endif
