// A target as libFuzzer runs it: clang -fsanitize=fuzzer brings the rest of the program.
#include "fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *count, char ***values);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerInitialize(int *count, char ***values)
{
    (void)count;
    (void)values;
    if (fuzz_begin != NULL) {
        fuzz_begin();
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    unsigned char *copy = fuzz_copy(bytes, count);
    fuzz_one(copy, count);
    free(copy);
    return 0;
}
