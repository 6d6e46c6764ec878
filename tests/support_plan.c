// Pool options to order for tests of the plan.
#include "tests/support_plan.h"

#include <string.h>

void options_make(struct weir_pool_options *options, const char *endpoint,
                  const struct setting *settings)
{
    weir_pool_options_init(options);
    options->endpoint = endpoint;
    for (; settings != NULL && settings->name != NULL; settings++) {
        assert_int_equal(weir_pool_options_set(options, settings->name, settings->value, NULL, 0),
                         0);
    }
}

void accept_options(const struct weir_pool_options *options, struct weir_pool_plan *plan)
{
    char why[WHY_BYTES];
    memset(why, 'x', sizeof(why));
    memset(plan, 0xa5, sizeof(*plan));
    if (weir_pool_options_check(options, plan, why, sizeof(why)) != 0) {
        fail_msg("refused: %s", why);
    }
    assert_string_equal(why, "");
}

void accept_plan(const char *endpoint, const struct setting *settings, struct weir_pool_plan *plan)
{
    struct weir_pool_options options;
    options_make(&options, endpoint, settings);
    accept_options(&options, plan);
}

void refuse_options(const struct weir_pool_options *options, const char *said)
{
    struct weir_pool_plan plan, before;
    char why[WHY_BYTES];
    memset(&plan, 0xa5, sizeof(plan));
    memset(&before, 0xa5, sizeof(before));
    memset(why, 'x', sizeof(why));
    if (weir_pool_options_check(options, &plan, why, sizeof(why)) != WEIR_EOPTION) {
        fail_msg("accepted, but should say: %s", said);
    }
    assert_memory_equal(&plan, &before, sizeof(plan));
    assert_non_null(memchr(why, 0, sizeof(why)));
    assert_true(strlen(why) < WHY_BYTES - 1);
    if (strstr(why, said) == NULL) {
        fail_msg("'%s' does not say: %s", why, said);
    }
    for (size_t bytes = 0; bytes <= strlen(why) + 1; bytes += 7) {
        char cut[WHY_BYTES];
        memset(cut, '#', sizeof(cut));
        assert_int_equal(weir_pool_options_check(options, &plan, bytes > 0 ? cut : NULL, bytes),
                         WEIR_EOPTION);
        assert_int_equal(cut[bytes], '#');
        assert_true(bytes == 0 || strncmp(cut, why, strlen(cut)) == 0);
    }
}

void refuse_plan(const char *endpoint, const struct setting *settings, const char *said)
{
    struct weir_pool_options options;
    options_make(&options, endpoint, settings);
    refuse_options(&options, said);
}
