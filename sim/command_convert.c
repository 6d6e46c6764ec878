// `weir-sim convert`: a fuzzer's input becomes a replay file, a replay file a fuzzer's input.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim/command.h"
#include "sim/input.h"

#define INPUT_BYTES_MAX ((size_t)16 << 20)

static int system_say(const struct sim_command *command, const char *path, int code)
{
    sim_say(command, "%s: %s", path, strerror(code));
    return SIM_EXIT_SYSTEM;
}

// The whole file, or as much of it as an input may have.
//   memory   the caller frees it; NULL: none left, or *code is set.
static uint8_t *file_read(const char *path, size_t *count, int *code)
{
    FILE *file = fopen(path, "rbe");
    uint8_t *bytes = malloc(INPUT_BYTES_MAX);
    if (file == NULL || bytes == NULL) {
        *code = file == NULL ? errno : ENOMEM;
    } else {
        *count = fread(bytes, 1, INPUT_BYTES_MAX, file);
        *code = ferror(file) != 0 ? EIO : 0;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    if (*code != 0) {
        free(bytes);
        bytes = NULL;
    }
    return bytes;
}

static int file_write(const char *path, const uint8_t *bytes, size_t count)
{
    FILE *file = fopen(path, "wbe");
    if (file == NULL) {
        return errno;
    }
    int code = fwrite(bytes, 1, count, file) == count ? 0 : errno;
    return fclose(file) != 0 && code == 0 ? errno : code;
}

// ---- Into an input ----

static int record_convert(const struct sim_command *command, const struct sim_record *record,
                          const char *out)
{
    const struct sim_input_header header = {.scenario_id = sim_input_scenario_id(record->scenario)};
    size_t records = sim_input_encode(record->deviations, record->deviations_count, NULL, 0);
    uint8_t *bytes = malloc(SIM_INPUT_HEADER + records);
    if (bytes == NULL) {
        return system_say(command, out, ENOMEM);
    }
    sim_input_header_write(&header, bytes);
    (void)sim_input_encode(record->deviations, record->deviations_count, bytes + SIM_INPUT_HEADER,
                           records);
    int code = file_write(out, bytes, SIM_INPUT_HEADER + records);
    free(bytes);
    if (code != 0) {
        return system_say(command, out, code);
    }
    printf("scenario    %s\ndeviations  %zu\ninput       %s, %zu bytes\n", record->scenario,
           record->deviations_count, out, SIM_INPUT_HEADER + records);
    return WEIR_SIM_PASS;
}

static int replay_convert(struct sim_command *command, const char *out)
{
    struct sim_record record;
    char why[1024];
    int status = sim_record_read(&record, command->file, why, sizeof why);
    if (status != 0) {
        sim_say(command, "%s", why);
        return status;
    }
    status = record_convert(command, &record, out);
    sim_record_deinit(&record);
    return status;
}

// ---- Into a replay file ----

// Runs the input: the file records what then happened, in this build.
static int input_run(struct sim_command *command, const uint8_t *bytes, size_t count,
                     const char *out)
{
    struct weir_sim_options options = {.steps_max = command->steps_max, .poison = command->poison};
    struct sim_input_header header;
    struct weir_sim_result result;
    struct sim_record record;
    struct weir_sim *sim = sim_command_simulator(command);
    if (sim == NULL) {
        return SIM_EXIT_SYSTEM;
    }
    sim_input_header_read(bytes, count, &header);
    sim_input_options(bytes, count, &options);
    uint32_t index =
        (uint32_t)sim_input_scenario(&header, command->scenarios, command->scenarios_count);
    weir_sim_run(sim, &command->scenarios[index], &options, &result);
    sim_record_fill(&record, command, sim, index, header.draws, "bytes", &result);
    int code = sim_record_write(&record, out);
    if (code == 0) {
        printf("scenario    %s\nverdict     %s%s%s\n", record.scenario,
               sim_verdict_label(result.verdict), result.name[0] == '\0' ? "" : ": ", result.name);
        printf("deviations  %zu of %" PRIu64 " decisions\nhash        %016" PRIx64
               "\nreplay file %s\n",
               result.deviations_count, result.decisions, result.hash, out);
    }
    weir_sim_destroy(sim);
    return code == 0 ? WEIR_SIM_PASS : system_say(command, out, -code);
}

static int file_convert(struct sim_command *command, const uint8_t *bytes, size_t count)
{
    const size_t magic = strlen(SIM_RECORD_MAGIC);
    bool replay = count >= magic && memcmp(bytes, SIM_RECORD_MAGIC, magic) == 0;
    const char *ending = replay ? ".input" : ".replay";
    size_t room = strlen(command->file) + strlen(ending) + 1;
    char *beside = malloc(room);
    if (beside == NULL) {
        return system_say(command, command->file, ENOMEM);
    }
    snprintf(beside, room, "%s%s", command->file, ending);
    const char *out = command->output == NULL ? beside : command->output;
    int status = replay ? replay_convert(command, out) : input_run(command, bytes, count, out);
    free(beside);
    return status;
}

int sim_command_convert(struct sim_command *command)
{
    size_t count = 0;
    int code = 0;
    uint8_t *bytes = file_read(command->file, &count, &code);
    if (bytes == NULL) {
        return system_say(command, command->file, code);
    }
    int status = file_convert(command, bytes, count);
    free(bytes);
    return status;
}
