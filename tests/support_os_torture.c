// Torture of support_os.h: a scenario run again and again, each time with another call failing.
#include "tests/support_os.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct torture_case {
    enum support_os_function function;
    int32_t code;
    uint64_t call;
};

// Runs one case, or without faults (`fault` NULL). calls: per function, how often; may be NULL.
static const char *torture_run(const struct support_os_torture *torture,
                               const struct torture_case *fault, uint64_t *calls, bool *happened)
{
    struct support_os *support = support_os_create(torture->inner);
    if (torture->is_virtual) {
        support_os_virtual(support, UINT64_C(1000000000));
    }
    if (fault != NULL) {
        uint64_t calls_count = torture->calls_count == 0 ? 1 : torture->calls_count;
        support_os_fail(support, fault->function, fault->call, calls_count, fault->code);
    }
    const char *wrong = torture->scenario(support, torture->argument);
    if (support_os_leaks(support) != 0 && wrong == NULL) {
        wrong = "something is left";
    }
    for (int function = 0; calls != NULL && function < SUPPORT_OS_FUNCTIONS_COUNT; function++) {
        calls[function] = support_os_calls(support, (enum support_os_function)function);
    }
    *happened = fault == NULL || support_os_faults(support, fault->function) > 0;
    support_os_destroy(support);
    return wrong;
}

static bool torture_case_bad(const struct support_os_torture *torture,
                             const struct torture_case *fault, const char *mode, uint64_t *runs)
{
    if (mode != NULL && strcmp(mode, "print") == 0) {
        fprintf(stderr, "torture: %s %d %" PRIu64 "\n", support_os_name(fault->function),
                (int)fault->code, fault->call);
    } else if (mode != NULL) {
        char name[64] = {0};
        int code = 0;
        uint64_t call = 0;
        if (sscanf(mode, "%63s %d %" SCNu64, name, &code, &call) != 3 || code != fault->code ||
            call != fault->call || strcmp(name, support_os_name(fault->function)) != 0) {
            return false;
        }
    }
    bool happened = false;
    const char *wrong = torture_run(torture, fault, NULL, &happened);
    *runs += happened ? 1 : 0;
    if (wrong != NULL) {
        fprintf(stderr, "torture: %s. Again: WEIR_TORTURE=\"%s %d %" PRIu64 "\"\n", wrong,
                support_os_name(fault->function), (int)fault->code, fault->call);
    }
    return wrong != NULL;
}

uint64_t support_os_torture(const struct support_os_torture *torture, uint64_t *runs)
{
    const char *mode = getenv("WEIR_TORTURE");
    uint64_t calls[SUPPORT_OS_FUNCTIONS_COUNT] = {0}, bad = 0, happened = 0;
    bool ignored = false;
    const char *wrong = torture_run(torture, NULL, calls, &ignored);
    if (wrong != NULL) {
        fprintf(stderr, "torture: without any fault: %s\n", wrong);
        bad++;
    }
    for (int row = 0; row < SUPPORT_OS_FUNCTIONS_COUNT; row++) {
        struct torture_case fault = {.function = (enum support_os_function)row};
        bool wanted = torture->functions == 0 || (torture->functions >> row & 1) != 0;
        uint64_t calls_max = calls[row];
        if (torture->calls_max != 0 && torture->calls_max < calls_max) {
            calls_max = torture->calls_max;
        }
        for (const int32_t *code = support_os_codes(fault.function);
             wanted && *code != SUPPORT_OS_END; code++) {
            fault.code = *code;
            for (fault.call = 1; fault.call <= calls_max; fault.call++) {
                bad += torture_case_bad(torture, &fault, mode, &happened) ? 1 : 0;
            }
        }
    }
    if (runs != NULL) {
        *runs = happened;
    }
    return bad;
}
