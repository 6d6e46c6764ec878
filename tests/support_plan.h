// Pool options to order for tests of the plan: which are accepted, and what a refusal says.
#ifndef WEIR_TESTS_SUPPORT_PLAN_H
#define WEIR_TESTS_SUPPORT_PLAN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "writer/options.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define STREAM "tcp://collector:601"
#define DGRAM "unix-dgram:/run/log"
#define UDP "udp://collector:514"
#define RELP "relp://collector:2514"
#define TEXT_32 "abcdefghijklmnopqrstuvwxyz012345"
#define TEXT_128 TEXT_32 TEXT_32 TEXT_32 TEXT_32
#define TEXT_256 TEXT_128 TEXT_128

#define WHY_BYTES 384

struct setting {
    const char *name;
    const char *value;
};

// A list of settings, in place: SET({"framing", "raw"}, {"header", "rfc5424"}).
#define SET(...) ((const struct setting[]){__VA_ARGS__, {NULL, NULL}})

// The defaults with this endpoint and these settings (none: NULL), each of which must be taken.
void options_make(struct weir_pool_options *options, const char *endpoint,
                  const struct setting *settings);

// The options make a plan, and nothing is said.
void accept_options(const struct weir_pool_options *options, struct weir_pool_plan *plan);
void accept_plan(const char *endpoint, const struct setting *settings, struct weir_pool_plan *plan);

// The refusal says `said`, leaves the plan alone, and is cut to any size of its buffer.
void refuse_options(const struct weir_pool_options *options, const char *said);
void refuse_plan(const char *endpoint, const struct setting *settings, const char *said);

#endif
