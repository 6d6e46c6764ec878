// Replay files, written: the record of a failed run as text, a thing per line, then a checksum.
//
//     weir-sim replay 1
//     build 3f2a...
//     grain fine
//     scenario example-hand-over-wrong
//     origin portfolio            what answered; it, seed and drew are for the reader
//     seed 17
//     steps 0                     --steps, 0: the scenario's own bound
//     drew strategy=pct ...
//     verdict race
//     name ...                    \n and \\ stand for a newline and a backslash
//     message ...
//     hash 0123456789abcdef
//     deviations 2
//     switch 0 12 1               kind, actor, number, value
//     stale 1 15 2
//     end 0123456789abcdef        FNV-1a, 64 bits, of all lines above
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/command.h"

void sim_record_fill(struct sim_record *record, const struct sim_command *command,
                     const struct weir_sim *sim, uint32_t scenario, uint64_t seed,
                     const char *origin, const struct weir_sim_result *result)
{
    *record = (struct sim_record){.fine = weir_sim_fine(),
                                  .seed = seed,
                                  .steps_max = command->steps_max,
                                  .verdict = result->verdict,
                                  .hash = result->hash,
                                  .deviations = result->deviations,
                                  .deviations_count = result->deviations_count};
    snprintf(record->build, sizeof record->build, "%s", sim_build_id());
    snprintf(record->scenario, sizeof record->scenario, "%s", command->scenarios[scenario].name);
    snprintf(record->origin, sizeof record->origin, "%s", origin);
    sim_run_describe(sim, record->drew, sizeof record->drew);
    snprintf(record->name, sizeof record->name, "%s", result->name);
    snprintf(record->message, sizeof record->message, "%s", result->message);
}

static void text_print(FILE *file, const char *word, const char *text)
{
    fprintf(file, "%s ", word);
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '\n': fputs("\\n", file); break;
        case '\\': fputs("\\\\", file); break;
        default: fputc(*text, file); break;
        }
    }
    fputc('\n', file);
}

static void record_print(const struct sim_record *record, FILE *file)
{
    fprintf(file, SIM_RECORD_MAGIC "%d\nbuild %s\ngrain %s\n", SIM_RECORD_VERSION, record->build,
            record->fine ? "fine" : "coarse");
    fprintf(file, "scenario %s\norigin %s\n", record->scenario, record->origin);
    fprintf(file, "seed %" PRIu64 "\nsteps %" PRIu64 "\n", record->seed, record->steps_max);
    text_print(file, "drew", record->drew);
    fprintf(file, "verdict %s\n", sim_verdict_label(record->verdict));
    text_print(file, "name", record->name);
    text_print(file, "message", record->message);
    fprintf(file, "hash %016" PRIx64 "\ndeviations %zu\n", record->hash, record->deviations_count);
    for (size_t i = 0; i < record->deviations_count; i++) {
        const struct weir_sim_deviation *deviation = &record->deviations[i];
        fprintf(file, "%s %" PRIu32 " %" PRIu32 " %" PRIu32 "\n",
                sim_kind_label((enum weir_sim_kind)deviation->kind), deviation->actor,
                deviation->number, deviation->value);
    }
}

static int bytes_write(const char *path, const char *bytes, size_t count)
{
    FILE *file = fopen(path, "wbxe");
    if (file == NULL) {
        return -errno;
    }
    bool good = fwrite(bytes, 1, count, file) == count &&
                fprintf(file, "end %016" PRIx64 "\n", sim_fnv(SIM_FNV_START, bytes, count)) > 0;
    int code = good ? 0 : -errno;
    if (fclose(file) != 0 && code == 0) {
        code = -errno;
    }
    return code;
}

int sim_record_write(const struct sim_record *record, const char *path)
{
    char *bytes = NULL;
    size_t count = 0;
    size_t room = strlen(path) + 32;
    char *early = malloc(room);
    FILE *memory = open_memstream(&bytes, &count);
    if (early == NULL || memory == NULL) {
        free(early);
        return -ENOMEM;
    }
    record_print(record, memory);
    int code = fclose(memory) == 0 ? 0 : -ENOMEM;
    snprintf(early, room, "%s.%ld.tmp", path, (long)getpid());
    (void)unlink(early); // of a process that had this number and was killed
    if (code == 0) {
        code = bytes_write(early, bytes, count);
    }
    if (code == 0 && rename(early, path) != 0) {
        code = -errno;
    }
    if (code != 0) {
        (void)unlink(early);
    }
    free(bytes);
    free(early);
    return code;
}
