// A target as AFL++ runs it: one process for many inputs, which come through shared memory.
//
// Built by afl-clang-fast only, which brings the macros (AFL++,
// instrumentation/README.persistent_mode).
#include "fuzz/fuzz.h"

#include <unistd.h>

#define FUZZ_INPUTS_PER_PROCESS 100000

__AFL_FUZZ_INIT();

// Not optimised: in a loop turned inside out the first turn takes another edge than all later ones.
__attribute__((optnone, noinline)) int main(void)
{
    if (fuzz_begin != NULL) {
        fuzz_begin();
    }
    __AFL_INIT();
    const unsigned char *shared = __AFL_FUZZ_TESTCASE_BUF;
    while (__AFL_LOOP(FUZZ_INPUTS_PER_PROCESS)) {
        size_t count = (size_t)__AFL_FUZZ_TESTCASE_LEN;
        unsigned char *bytes = fuzz_copy(shared, count);
        fuzz_one(bytes, count);
        free(bytes);
    }
    return 0;
}
