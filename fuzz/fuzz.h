// The interface between a fuzz target and the programs that feed it, and how a target reads bytes.
//
// A target is one file target_NAME.c with fuzz_one. main_afl.c, main_libfuzzer.c and main_replay.c
// each make a program of it. A target says that something is wrong by aborting: through
// fuzz_require, through an assertion of the code it drives, or through a sanitizer. It is
// deterministic: the same bytes take the same way, whatever came before them in the process, or
// AFL++ calls it unstable.
#ifndef WEIR_FUZZ_FUZZ_H
#define WEIR_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Runs one input.
//   memory   `bytes` is an allocation of exactly `count` bytes; not NULL, also when count is 0.
void fuzz_one(const unsigned char *bytes, size_t count);
// Optional: once, before the first input.
void fuzz_begin(void) __attribute__((weak));

// The largest input a program hands to a target; the rest of a longer file is not looked at.
#define FUZZ_INPUT_BYTES_MAX (1u << 20)

static inline _Noreturn void fuzz_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
    abort();
}
// A promise of the code under test.
#define fuzz_require(condition)                                                                    \
    (__builtin_expect(!(condition), 0) ? fuzz_failed(#condition, __FILE__, __LINE__) : (void)0)

// What is left of an input. Past its end come zeros, so that every input is a whole one.
struct fuzz_input {
    const unsigned char *bytes;
    size_t count, at;
};

static inline bool fuzz_more(const struct fuzz_input *input)
{
    return input->at < input->count;
}

static inline uint8_t fuzz_u8(struct fuzz_input *input)
{
    return input->at < input->count ? input->bytes[input->at++] : 0;
}

static inline uint32_t fuzz_u16(struct fuzz_input *input)
{
    uint32_t low = fuzz_u8(input);
    return low | (uint32_t)fuzz_u8(input) << 8;
}

static inline uint32_t fuzz_u32(struct fuzz_input *input)
{
    uint32_t low = fuzz_u16(input);
    return low | fuzz_u16(input) << 16;
}

static inline uint64_t fuzz_u64(struct fuzz_input *input)
{
    uint64_t low = fuzz_u32(input);
    return low | (uint64_t)fuzz_u32(input) << 32;
}

// Takes up to `wanted` bytes.
static inline const unsigned char *fuzz_take(struct fuzz_input *input, size_t wanted, size_t *taken)
{
    const unsigned char *bytes = input->bytes + input->at;
    size_t left = input->count - input->at;
    *taken = wanted < left ? wanted : left;
    input->at += *taken;
    return bytes;
}

// A copy in an allocation of exactly its size, so that AddressSanitizer sees the first byte too
// far.
static inline unsigned char *fuzz_copy(const void *bytes, size_t count)
{
    unsigned char *copy = malloc(count > 0 ? count : 1);
    if (copy == NULL) {
        fuzz_failed("there is memory", __FILE__, __LINE__);
    }
    memcpy(copy, bytes, count);
    return copy;
}

#endif
