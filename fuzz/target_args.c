// Fuzz target args: the options of `weir send`, from the words of a command line to a plan.
//
// The input is the command line, a word a line. It is walked over as the command does, each option
// is set by its text, and then all are checked together, as at opening. Whatever was accepted alone
// passes the check alone; a plan keeps every promise of its header; and the messages it frames come
// out whole.
#include "fuzz/fuzz.h"

#include <string.h>

#include "writer/command.h"
#include "writer/options.h"

#define WORDS_MAX 64
#define WHY_BYTES 512
#define CHECK_WHY_BYTES 384 // as the header promises

static void why_check(const char *why, size_t bytes, bool refused)
{
    fuzz_require(memchr(why, '\0', bytes) != NULL);
    fuzz_require((why[0] != '\0') == refused);
    fuzz_require(strlen(why) < bytes - 1);
}

// What is refused changes nothing; what is accepted is accepted again, and is in bounds.
static void option_set(struct weir_pool_options *options, const char *name, const char *value)
{
    struct weir_pool_options before;
    char why[WHY_BYTES];
    char values_why[CHECK_WHY_BYTES];
    memcpy(&before, options, sizeof(before));
    memset(why, 'w', sizeof(why));
    int error = weir_pool_options_set(options, name, value, why, sizeof(why));
    fuzz_require(error == 0 || error == WEIR_EOPTION);
    why_check(why, sizeof(why), error != 0);
    if (error != 0) {
        fuzz_require(memcmp(options, &before, sizeof(before)) == 0);
        fuzz_require(weir_pool_options_set(options, name, value, NULL, 0) == error);
    }
    fuzz_require(weir_pool_options_check_values(options, values_why, sizeof(values_why)) == 0);
    why_check(values_why, sizeof(values_why), false);
}

// A message as the plan frames it fits what the plan says is the largest.
static void framer_check(const struct weir_pool_plan *plan)
{
    static const unsigned char byte[] = "m";
    struct weir_iovec part = {byte, 1};
    size_t bytes = 0;
    for (uint8_t severity = 0; severity <= WEIR_SEVERITY_DEFAULT; severity++) {
        fuzz_require(weir_framer_measure(&plan->framer, severity, &part, 1, &bytes) == 0);
        fuzz_require(bytes > 0 && bytes <= plan->message_bytes_max);
        unsigned char *frame = malloc(bytes);
        fuzz_require(frame != NULL);
        fuzz_require(weir_framer_write(&plan->framer, 0, severity, frame, &part, 1, bytes) ==
                     bytes);
        free(frame);
    }
}

static void endpoints_check(const struct weir_pool_plan *plan)
{
    fuzz_require(plan->endpoints_count >= 1 && plan->endpoints_count <= WEIR_ENDPOINTS_MAX);
    fuzz_require(plan->levels[0] == 0);
    for (uint32_t i = 0; i < plan->endpoints_count; i++) {
        const struct weir_endpoint *endpoint = &plan->endpoints[i];
        char text[WEIR_ENDPOINT_TEXT_BYTES_MAX];
        struct weir_endpoint again;
        fuzz_require(weir_endpoint_format(endpoint, text, sizeof(text)) < sizeof(text));
        fuzz_require(weir_endpoint_parse(&again, text, NULL, 0) == 0);
        fuzz_require(memcmp(&again, endpoint, sizeof(again)) == 0);
        fuzz_require(plan->stream == weir_transport_is_stream(endpoint->transport));
        fuzz_require(plan->relp == (endpoint->transport == WEIR_TRANSPORT_RELP));
        uint8_t before = i > 0 ? plan->levels[i - 1] : 0;
        fuzz_require(plan->levels[i] == before || plan->levels[i] == before + 1);
    }
}

static void plan_check(const struct weir_pool_plan *plan, const struct weir_pool_options *options)
{
    const struct weir_row_options *row = &plan->row;
    uint64_t holds = (uint64_t)row->segment_count * row->flush_limit_bytes;
    endpoints_check(plan);
    fuzz_require(plan->confirm != WEIR_CONFIRM_AUTO);
    fuzz_require((plan->confirm == WEIR_CONFIRM_ACK) == plan->relp);
    fuzz_require(plan->confirm != WEIR_CONFIRM_PEER || plan->stream);
    fuzz_require(plan->writers_count == options->pool_size);
    fuzz_require(plan->message_bytes_max <= options->message_bytes_max);
    fuzz_require(plan->message_bytes_max == row->message_bytes_max);
    fuzz_require(plan->region_bytes > 0 && plan->region_bytes == weir_row_region_bytes(row));
    fuzz_require(plan->writers_count * plan->region_bytes <= options->buffer_bytes_max);
    fuzz_require(row->segment_count >= WEIR_SEGMENTS_MIN);
    // One more segment would be too many.
    struct weir_row_options larger = *row;
    larger.segment_count++;
    size_t larger_bytes = weir_row_region_bytes(&larger);
    fuzz_require(larger_bytes == 0 ||
                 larger_bytes > options->buffer_bytes_max / plan->writers_count);
    fuzz_require(plan->epoch_bytes <= (holds / 4 > 0 ? holds / 4 : 1));
    fuzz_require(plan->replay_bytes <= (holds / 4 > 0 ? holds / 4 : 1));
    fuzz_require((plan->epoch_bytes == 0) == (options->epoch_bytes_max == 0));
    fuzz_require(plan->retry_interval_ms <= plan->retry_interval_max_ms);
    fuzz_require(plan->window_messages <= WEIR_WINDOW_MESSAGES_MAX);
    framer_check(plan);
}

static void options_check(const struct weir_pool_options *options)
{
    struct weir_pool_plan plan;
    struct weir_pool_plan again;
    char why[CHECK_WHY_BYTES];
    memset(&plan, 0x5a, sizeof(plan));
    memset(&again, 0x5a, sizeof(again));
    memset(why, 'w', sizeof(why));
    int error = weir_pool_options_check(options, &plan, why, sizeof(why));
    why_check(why, sizeof(why), error != 0);
    fuzz_require(weir_pool_options_check(options, &again, NULL, 0) == error);
    fuzz_require(memcmp(&plan, &again, sizeof(plan)) == 0);
    if (error == 0) {
        plan_check(&plan, options);
    } else {
        fuzz_require(error == WEIR_EOPTION && ((unsigned char *)&plan)[0] == 0x5a);
    }
}

// As the command names its options: blanks between words are dashes, and the endpoint is where to.
static void name_of(const struct weir_arguments *arguments, char *name, size_t bytes_max)
{
    snprintf(name, bytes_max, "%s", arguments->name);
    for (char *at = name; *at != '\0'; at++) {
        *at = *at == '-' ? '_' : *at;
    }
    if (strcmp(name, "to") == 0) {
        snprintf(name, bytes_max, "endpoint");
    }
}

static void words_run(char **words, int count)
{
    struct weir_pool_options options;
    struct weir_arguments arguments = {.command = "fuzz", .values = words, .count = count};
    weir_pool_options_init(&options);
    for (;;) {
        int before = arguments.next;
        enum weir_argument kind = weir_arguments_next(&arguments);
        fuzz_require(arguments.next >= before && arguments.next <= count);
        if (kind == WEIR_ARGUMENT_END) {
            fuzz_require(arguments.next == count);
            break;
        }
        fuzz_require(arguments.next > before);
        if (kind == WEIR_ARGUMENT_OPERAND) {
            fuzz_require(arguments.operand == words[arguments.next - 1]);
            continue;
        }
        char name[sizeof(arguments.name)];
        name_of(&arguments, name, sizeof(name));
        if (arguments.inline_value != NULL || arguments.next < count) {
            option_set(&options, name, weir_arguments_value(&arguments));
        }
    }
    options_check(&options);
}

void fuzz_one(const unsigned char *bytes, size_t count)
{
    char *words[WORDS_MAX];
    int words_count = 0;
    size_t at = 0;
    while (at < count && words_count < WORDS_MAX) {
        const unsigned char *newline = memchr(bytes + at, '\n', count - at);
        size_t word_bytes = newline != NULL ? (size_t)(newline - bytes) - at : count - at;
        char *word = malloc(word_bytes + 1);
        fuzz_require(word != NULL);
        memcpy(word, bytes + at, word_bytes);
        word[word_bytes] = '\0';
        words[words_count++] = word;
        at += word_bytes + 1;
    }
    words_run(words, words_count);
    while (words_count > 0) {
        free(words[--words_count]);
    }
}
