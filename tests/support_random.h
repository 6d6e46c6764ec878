// The random numbers of the tests: a seed that is printed and can be given back, and splitmix64.
#ifndef WEIR_TESTS_SUPPORT_RANDOM_H
#define WEIR_TESTS_SUPPORT_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

// WEIR_SEED from the environment, or the time; printed either way.
static inline uint64_t seed_get(void)
{
    const char *text = getenv("WEIR_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
    printf("seed: WEIR_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

// Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (2014).
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline size_t random_below(uint64_t *state, size_t limit)
{
    return (size_t)(random_next(state) % limit);
}

#endif
