// Making and ending a faulty operating system around the real one, for the tests of it.
#ifndef WEIR_TESTS_SUPPORT_FAULTY_H
#define WEIR_TESTS_SUPPORT_FAULTY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support_os.h"

static inline struct support_os *faulty_create(struct weir_os *os)
{
    struct weir_os real = weir_os_linux();
    struct support_os *faulty = support_os_create(&real);
    *os = support_os_get(faulty);
    return faulty;
}

// Nothing is left, and it goes.
static inline void faulty_end(struct support_os *faulty)
{
    assert_int_equal(support_os_leaks(faulty), 0);
    support_os_destroy(faulty);
}

// In two parts, the first of one byte.
static inline int64_t send_text(const struct weir_os *os, int fd, const char *text)
{
    struct weir_iovec parts[2] = {{text, 1}, {text + 1, strlen(text) - 1}};
    return os->socket_send(os->self, fd, parts, 2);
}

#endif
