// What the scripted peers of the tests do when a call fails that cannot: say which, and abort.
#ifndef WEIR_TESTS_SUPPORT_MUST_H
#define WEIR_TESTS_SUPPORT_MUST_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s fails (%s)\n", __FILE__, __LINE__, #condition,              \
                    strerror(errno));                                                              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
