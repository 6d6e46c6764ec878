// Values of options: numbers, ranges of seeds, times.
#include <string.h>

#include "sim/command.h"

#define BUDGET_MAX_NS (UINT64_C(30) * 86400 * SIM_NS_PER_S)

// The value of a digit in this base, or `base`.
static uint64_t digit_value(char digit, uint64_t base)
{
    uint64_t value = base;
    if (digit >= '0' && digit <= '9') {
        value = (uint64_t)(digit - '0');
    } else if (digit >= 'a' && digit <= 'f') {
        value = (uint64_t)(digit - 'a') + 10;
    } else if (digit >= 'A' && digit <= 'F') {
        value = (uint64_t)(digit - 'A') + 10;
    }
    return value < base ? value : base;
}

// Digits of `text` up to `end`, all of them.
static bool digits_parse(const char *text, const char *end, uint64_t *number)
{
    uint64_t base = 10;
    uint64_t value = 0;
    if (end - text > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
        text += 2;
    }
    if (text == end) {
        return false;
    }
    for (; text < end; text++) {
        uint64_t digit = digit_value(*text, base);
        if (digit == base || __builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return false;
        }
    }
    *number = value;
    return true;
}

bool sim_option_number(const char *text, uint64_t least, uint64_t most, uint64_t *number)
{
    uint64_t value = 0;
    if (!digits_parse(text, text + strlen(text), &value) || value < least || value > most) {
        return false;
    }
    *number = value;
    return true;
}

bool sim_option_seeds(const char *text, uint64_t *first, uint64_t *last)
{
    const char *dots = strstr(text, "..");
    uint64_t a = 0;
    uint64_t b = 0;
    if (dots == NULL) {
        if (!sim_option_number(text, 0, UINT64_MAX, &a)) {
            return false;
        }
        b = a;
    } else if (!digits_parse(text, dots, &a) || !sim_option_number(dots + 2, a, UINT64_MAX, &b)) {
        return false;
    }
    *first = a;
    *last = b;
    return true;
}

bool sim_option_duration(const char *text, uint64_t *duration_ns)
{
    static const struct {
        const char *unit;
        uint64_t ns;
    } units[] = {
        {"", SIM_NS_PER_S},          {"ms", SIM_NS_PER_S / 1000}, {"s", SIM_NS_PER_S},
        {"m", 60 * SIM_NS_PER_S},    {"min", 60 * SIM_NS_PER_S},  {"h", 3600 * SIM_NS_PER_S},
        {"d", 86400 * SIM_NS_PER_S},
    };
    size_t digits = strspn(text, "0123456789");
    uint64_t number = 0;
    if (!digits_parse(text, text + digits, &number)) {
        return false;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        uint64_t ns = 0;
        if (strcmp(text + digits, units[i].unit) == 0 &&
            !__builtin_mul_overflow(number, units[i].ns, &ns) && ns > 0 && ns <= BUDGET_MAX_NS) {
            *duration_ns = ns;
            return true;
        }
    }
    return false;
}
