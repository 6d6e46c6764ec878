// Random streams and geometric gaps.
#include "sim/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "runtime/assert.h"

struct sim_random sim_random_stream(uint64_t seed, uint32_t number)
{
    // Twice through the mixer, or stream 1 of seed S would be stream 0 of a neighbour, shifted.
    struct sim_random random = {seed};
    random.state = sim_random_next(&random) + number;
    random.state = sim_random_next(&random);
    return random;
}

uint32_t sim_random_magnitude(struct sim_random *random, uint32_t low, uint32_t high)
{
    weir_assert(low < high && high < 32);
    uint32_t exponent = low + (uint32_t)sim_random_below(random, high - low);
    uint64_t base = UINT64_C(1) << exponent;
    return (uint32_t)(base + sim_random_below(random, base + 1));
}

void sim_rate_describe(struct sim_rate rate, const char *label, char *text, size_t text_bytes)
{
    if (rate.numerator == 0) {
        return;
    }
    uint32_t divisor = rate.denominator;
    for (uint32_t rest = rate.numerator; rest != 0;) { // Euclid's
        uint32_t next = divisor % rest;
        divisor = rest;
        rest = next;
    }
    size_t used = strlen(text);
    snprintf(text + used, text_bytes - used, " %s=%" PRIu32 "/%" PRIu32, label,
             rate.numerator / divisor, rate.denominator / divisor);
}

// The complement of the rate, squared again and again until nothing is left of it.
void sim_chance_init(struct sim_chance *chance, struct sim_rate rate)
{
    weir_assert(rate.numerator >= 1 && rate.denominator >= 1);
    chance->powers_count = 0;
    if (rate.numerator >= rate.denominator) {
        return;
    }
    uint64_t power = UINT64_MAX - UINT64_MAX / rate.denominator * rate.numerator;
    while (power != 0 && chance->powers_count < 32) {
        chance->powers[chance->powers_count++] = power;
        power = sim_random_multiply(power, power);
    }
}

// Inversion: the largest n of which (1 - rate)^n is still above a uniform draw, found bit by bit.
uint64_t sim_chance_gap(const struct sim_chance *chance, struct sim_random *random)
{
    uint64_t draw = sim_random_next(random);
    uint64_t left = UINT64_MAX;
    uint64_t gap = 0;
    for (uint32_t bit = chance->powers_count; bit-- > 0;) {
        uint64_t product = sim_random_multiply(left, chance->powers[bit]);
        if (product > draw) {
            left = product;
            gap += UINT64_C(1) << bit;
        }
    }
    return gap;
}
