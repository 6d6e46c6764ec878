// `weir-sim replay` and `weir-sim shrink`: a recorded failure again, and with less.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim/command.h"

// ---- Replay ----

static void replay_json(const struct sim_case *it, const struct weir_sim_result *result,
                        const char *differs, int status)
{
    struct sim_json json;
    sim_json_open(&json, stdout);
    sim_json_text(&json, "event", "replay");
    sim_json_number(&json, "status", (uint64_t)status);
    sim_json_text(&json, "verdict", sim_verdict_label(result->verdict));
    sim_json_text(&json, "name", result->name);
    sim_json_text(&json, "message", result->message);
    sim_json_text(&json, "scenario", it->record.scenario);
    sim_json_hash(&json, "hash", result->hash);
    sim_json_hash(&json, "recorded_hash", it->record.hash);
    sim_json_text(&json, "differs", differs);
    sim_json_deviations(&json, it->record.deviations, it->record.deviations_count);
    sim_json_close(&json);
}

static void replay_print(const struct sim_case *it, const struct weir_sim_result *result,
                         const char *differs)
{
    char *message = sim_symbols_resolve(result->message);
    printf("verdict     %s%s%s\n", sim_verdict_label(result->verdict),
           result->name[0] == '\0' ? "" : ": ", result->name);
    if (result->message[0] != '\0') {
        printf("what        %s\n", message == NULL ? result->message : message);
    }
    printf("scenario    %s\n", it->record.scenario);
    printf("came from   %s, seed %" PRIu64 ": %s\n", it->record.origin, it->record.seed,
           it->record.drew);
    printf("deviations  %zu of %" PRIu64 " decisions\n", it->record.deviations_count,
           result->decisions);
    printf("hash        %016" PRIx64 "\n", result->hash);
    printf("%s%s\n", differs[0] == '\0' ? "as recorded" : "NOT AS RECORDED: ", differs);
    free(message);
}

int sim_command_replay(struct sim_command *command)
{
    struct sim_case it;
    struct weir_sim_result result;
    char differs[512];
    int status = sim_case_open(&it, command);
    if (status != 0) {
        return status;
    }
    sim_case_run(&it, command, NULL, &result);
    status = sim_case_judge(&it, command, &result, differs, sizeof differs);
    if (sim_option_given(command, SIM_OPTION_JSON)) {
        replay_json(&it, &result, differs, status);
    } else {
        replay_print(&it, &result, differs);
    }
    sim_case_close(&it);
    return status;
}

// ---- Shrink ----

// What kind of fault it is, from what is left.
static const char *class_of(const struct sim_record *record)
{
    uint32_t left = 0;
    for (size_t i = 0; i < record->deviations_count; i++) {
        left |= 1u << record->deviations[i].kind;
    }
    const uint32_t weak = 1u << WEIR_SIM_STALE;
    const uint32_t interleaving = 1u << WEIR_SIM_SWITCH;
    const uint32_t spurious = 1u << WEIR_SIM_WEAK | 1u << WEIR_SIM_FUTEX;
    const uint32_t workload = 1u << WEIR_SIM_WORK;
    uint32_t others = left & ~(weak | interleaving | spurious | workload);
    if ((left & ~workload) == 0) {
        return left == 0 ? "fails every time: no deviation is left"
                         : "an ordinary fault: needs only this input";
    }
    if ((left & weak) != 0) {
        return others == 0 ? "memory order: needs a stale read" : "memory order and input/output";
    }
    if ((left & interleaving) != 0) {
        if (record->verdict == WEIR_SIM_RACE) {
            return "a data race that switches alone lead to";
        }
        return others == 0 ? "plain interleaving: no stale read is left"
                           : "interleaving and input/output, no stale read";
    }
    return others == 0 ? "a spurious failure or wake-up that is not expected"
                       : "input/output and time only: no switch is left";
}

static void kinds_format(const struct sim_record *record, char *text, size_t text_bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t kind = 0; kind < WEIR_SIM_KINDS_COUNT; kind++) {
        size_t count = 0;
        for (size_t i = 0; i < record->deviations_count; i++) {
            count += record->deviations[i].kind == kind ? 1 : 0;
        }
        if (count > 0 && used < text_bytes) {
            used +=
                (size_t)snprintf(text + used, text_bytes - used, "%s%zu %s", used > 0 ? ", " : "",
                                 count, sim_kind_label((enum weir_sim_kind)kind));
        }
    }
}

struct shrinkage {
    size_t before;
    uint64_t runs, elapsed_ns;
    const char *out;
};

static void shrink_print(const struct sim_command *command, const struct sim_record *record,
                         const struct shrinkage *shrinkage)
{
    char kinds[512];
    kinds_format(record, kinds, sizeof kinds);
    if (sim_option_given(command, SIM_OPTION_JSON)) {
        struct sim_json json;
        sim_json_open(&json, stdout);
        sim_json_text(&json, "event", "shrink");
        sim_json_number(&json, "before", shrinkage->before);
        sim_json_number(&json, "after", record->deviations_count);
        sim_json_number(&json, "runs", shrinkage->runs);
        sim_json_number(&json, "elapsed_ns", shrinkage->elapsed_ns);
        sim_json_text(&json, "class", class_of(record));
        sim_json_text(&json, "verdict", sim_verdict_label(record->verdict));
        sim_json_text(&json, "name", record->name);
        sim_json_hash(&json, "hash", record->hash);
        sim_json_text(&json, "replay_file", shrinkage->out);
        sim_json_deviations(&json, record->deviations, record->deviations_count);
        sim_json_close(&json);
        return;
    }
    printf("verdict     %s: %s\n", sim_verdict_label(record->verdict), record->name);
    printf("deviations  %zu -> %zu, in %" PRIu64 " runs and %" PRIu64 ".%03" PRIu64 " s\n",
           shrinkage->before, record->deviations_count, shrinkage->runs,
           shrinkage->elapsed_ns / SIM_NS_PER_S,
           shrinkage->elapsed_ns / (SIM_NS_PER_S / 1000) % 1000);
    printf("left        %s\n", kinds[0] == '\0' ? "nothing" : kinds);
    printf("class       %s\n", class_of(record));
    printf("replay file %s\n", shrinkage->out);
}

// Shrinks the record in place and runs what is left, for its hash and message.
static int record_shrink(struct sim_case *it, const struct sim_command *command,
                         const struct weir_sim_result *failure, struct shrinkage *shrinkage)
{
    struct sim_record *record = &it->record;
    struct weir_sim_result result;
    uint64_t begun_ns = sim_clock_ns();
    shrinkage->before = record->deviations_count;
    shrinkage->runs =
        weir_sim_shrink(it->sim, &it->scenario, record->owned, &record->deviations_count, failure);
    shrinkage->elapsed_ns = sim_clock_ns() - begun_ns;
    sim_case_run(it, command, NULL, &result);
    if (result.verdict != failure->verdict || strcmp(result.name, failure->name) != 0) {
        sim_say(command, "what is left ends with %s: %s, instead of %s: %s",
                sim_verdict_label(result.verdict), result.name, sim_verdict_label(failure->verdict),
                failure->name);
        return WEIR_SIM_NONDETERMINISM;
    }
    record->fine = weir_sim_fine();
    record->verdict = result.verdict;
    record->hash = result.hash;
    snprintf(record->build, sizeof record->build, "%s", sim_build_id());
    snprintf(record->name, sizeof record->name, "%s", result.name);
    snprintf(record->message, sizeof record->message, "%s", result.message);
    return 0;
}

static int case_shrink(struct sim_case *it, struct sim_command *command, const char *out)
{
    struct weir_sim_result failure;
    struct shrinkage shrinkage = {.out = out};
    char differs[512];
    sim_case_run(it, command, NULL, &failure);
    int status = sim_case_judge(it, command, &failure, differs, sizeof differs);
    if (differs[0] != '\0') {
        sim_say(command, "%s is %s", command->file, differs);
    }
    if (status == WEIR_SIM_NONDETERMINISM) {
        return status;
    }
    if (failure.verdict == WEIR_SIM_PASS) {
        return sim_refuse(command, "%s passes: there is nothing to shrink", command->file);
    }
    failure.deviations = NULL; // valid only until the next run
    status = record_shrink(it, command, &failure, &shrinkage);
    if (status != 0) {
        return status;
    }
    int code = sim_record_write(&it->record, out);
    if (code != 0) {
        sim_say(command, "%s: %s", out, strerror(-code));
        return SIM_EXIT_SYSTEM;
    }
    shrink_print(command, &it->record, &shrinkage);
    return WEIR_SIM_PASS;
}

int sim_command_shrink(struct sim_command *command)
{
    struct sim_case it;
    int status = sim_case_open(&it, command);
    if (status != 0) {
        return status;
    }
    size_t room = strlen(command->file) + sizeof ".shrunk";
    char *out = malloc(room);
    if (out == NULL) {
        sim_say(command, "no memory");
        status = SIM_EXIT_SYSTEM;
    } else {
        snprintf(out, room, "%s.shrunk", command->file);
        status = case_shrink(&it, command, command->output == NULL ? out : command->output);
    }
    free(out);
    sim_case_close(&it);
    return status;
}
