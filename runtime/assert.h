// Assertions for programmer errors: on in every build, as a wrong state is worse than a stop.
#ifndef WEIR_RUNTIME_ASSERT_H
#define WEIR_RUNTIME_ASSERT_H

#include "runtime/cold.h"

// Prints one line naming the broken condition to standard error and aborts. In a file of its own
// (os_linux_assert.c), so that a simulator can supply another one and report the seed.
WEIR_COLD _Noreturn void weir_assert_failed(const char *condition, const char *file, int line);

#define weir_assert(condition)                                                                     \
    (__builtin_expect(!(condition), 0) ? weir_assert_failed(#condition, __FILE__, __LINE__)        \
                                       : (void)0)

#endif
