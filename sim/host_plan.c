// A host with a pool: drawing a plan from a profile.
#include <stdio.h>
#include <string.h>

#include "sim/host.h"
#include "sim/message.h"
#include "sim/sim.h"

#define MS UINT64_C(1000000)
// What framing and header can add to a message here: see plan_text.
#define OVERHEAD_BYTES_MAX 120
#define GAP_BYTES_MAX 160
// A time limit that nothing comes near.
#define FAR_MS 3600000u
// The longest trouble that is brief.
#define BRIEF_MS_MAX 16
// Beside the payload of each segment: its words and its index (writer/limits.h).
#define SEGMENT_WORDS_BYTES 1024
#define INDEX_ENTRY_BYTES 12

static const char host_name[] = "collector.example";
static const char *const host_numbers[] = {"10.0.0.1", "10.0.0.2", "10.0.0.3"};
static const char *const host_paths[] = {"/run/first.sock", "@second", "/run/third.sock"};

// One bit of a set that is not empty; the lowest is the benign one.
static uint32_t draw_of(struct weir_sim *sim, const char *name, uint32_t set)
{
    uint32_t index = weir_sim_draw(sim, name, 0, (uint32_t)__builtin_popcount(set) - 1);
    while (index > 0) {
        set &= set - 1;
        index--;
    }
    return (uint32_t)__builtin_ctz(set);
}

// From low to high, each order of magnitude as likely as the next.
static uint32_t draw_scaled(struct weir_sim *sim, const char *name, uint32_t low, uint32_t high)
{
    uint32_t magnitudes = 0;
    while (low << (magnitudes + 1) <= high) {
        magnitudes++;
    }
    uint32_t base = low << weir_sim_draw(sim, name, 0, magnitudes);
    uint32_t most = 2 * base - 1 < high ? 2 * base - 1 : high;
    return base + weir_sim_choose(sim, WEIR_SIM_WORK, most - base + 1);
}

// ---- Options ----

static void plan_times(struct weir_sim *sim, const struct sim_host_profile *profile,
                       struct weir_pool_options *options)
{
    options->flush_interval_ms = draw_scaled(sim, "flush_interval", 1, 50);
    options->retry_interval_ms = draw_scaled(sim, "retry_interval", 1, profile->brief ? 4 : 50);
    options->retry_interval_max_ms = options->retry_interval_ms * weir_sim_draw(sim, "cap", 1, 8);
    options->connect_timeout_ms = draw_scaled(sim, "connect_timeout", 2, 2000);
    if (profile->exact) {
        options->connect_timeout_ms = options->stall_timeout_ms = FAR_MS;
        return;
    }
    bool patient = !profile->stalls && weir_sim_draw(sim, "stalls", 0, 3) != 0;
    options->stall_timeout_ms =
        patient ? 60000 : draw_scaled(sim, "stall_timeout", 5, profile->stalls ? 40 : 2000);
}

static void plan_relp(struct weir_sim *sim, const struct sim_host_profile *profile,
                      struct weir_pool_options *options)
{
    bool narrow = profile->narrow;
    options->confirm = WEIR_CONFIRM_ACK;
    options->window_messages = draw_scaled(sim, "window", 1, narrow ? 4 : 128);
    options->window_bytes = draw_scaled(sim, "window_bytes", 1, narrow ? 1024 : 65536);
    options->answer_timeout_ms =
        profile->exact ? FAR_MS : draw_scaled(sim, "answer_timeout", 5, profile->brief ? 40 : 2000);
    options->refused = (enum weir_refused)draw_of(sim, "refused", profile->refuseds);
}

static void plan_text(struct weir_sim *sim, struct weir_pool_options *options,
                      enum sim_collector_kind kind)
{
    bool datagrams = kind >= SIM_COLLECTOR_UNIX_DATAGRAM;
    bool header = weir_sim_draw(sim, "header", 0, 3) == 3;
    uint32_t framings = 1u << WEIR_FRAMING_NEWLINE | 1u << WEIR_FRAMING_OCTET_COUNTING;
    // Of a raw stream only messages that say their own length can be told apart.
    framings |= header || options->gap_records ? 0 : 1u << WEIR_FRAMING_RAW;
    if (kind == SIM_COLLECTOR_RELP) {
        options->framing = WEIR_FRAMING_RELP;
    } else {
        options->framing =
            datagrams ? WEIR_FRAMING_RAW : (enum weir_framing)draw_of(sim, "framing", framings);
    }
    options->delimiter =
        weir_sim_draw(sim, "refuse", 0, 3) == 3 ? WEIR_DELIMITER_REFUSE : WEIR_DELIMITER_ESCAPE;
    if (header) {
        options->header = WEIR_HEADER_RFC5424;
        options->hostname = "host";
        options->app = "app";
        options->facility = 23;
    }
}

static void plan_sizes(struct weir_sim *sim, const struct sim_host_profile *profile,
                       struct sim_host_plan *plan)
{
    struct weir_pool_options *options = &plan->options;
    uint32_t room = OVERHEAD_BYTES_MAX + (options->gap_records ? GAP_BYTES_MAX : 0);
    plan->bytes_min = SIM_MESSAGE_BYTES_MIN;
    uint32_t bytes_max = profile->narrow ? 4000 : 600;
    plan->bytes_max = draw_scaled(sim, "message_bytes", SIM_MESSAGE_BYTES_MIN, bytes_max);
    options->message_bytes_max = plan->bytes_max + room;
    options->flush_limit_bytes = draw_scaled(sim, "flush_limit", 32, 2048);
    uint32_t segments =
        profile->tight ? weir_sim_draw(sim, "segments", 2, 5) : draw_scaled(sim, "segments", 3, 40);
    uint64_t segment = options->flush_limit_bytes + options->message_bytes_max +
                       SEGMENT_WORDS_BYTES +
                       INDEX_ENTRY_BYTES * (options->flush_limit_bytes / 16 + 16);
    options->buffer_bytes_max = options->pool_size * (2048 + segments * segment);
}

// ---- The other end ----

static void plan_endpoint(struct sim_host_plan *plan, uint32_t index)
{
    static const char *const schemes[] = {"unix:", "tcp://", "relp://", "unix-dgram:", "udp://"};
    struct sim_collector_options *collector = &plan->collectors[index];
    size_t used = strlen(plan->endpoint);
    char *to = plan->endpoint + used;
    size_t bytes = sizeof(plan->endpoint) - used;
    const char *scheme = schemes[collector->kind];
    bool equal = index > 0 && plan->levels[index] == plan->levels[index - 1];
    const char *comma = index == 0 ? "" : equal ? "|" : ",";
    bool is_unix =
        collector->kind == SIM_COLLECTOR_UNIX || collector->kind == SIM_COLLECTOR_UNIX_DATAGRAM;
    if (is_unix) {
        (void)snprintf(to, bytes, "%s%s%s", comma, scheme, collector->path);
    } else {
        const char *host = plan->name != NULL && index == 0 ? plan->name : collector->host;
        (void)snprintf(to, bytes, "%s%s%s:%u", comma, scheme, host, collector->port);
    }
}

static void plan_collectors(struct weir_sim *sim, const struct sim_host_profile *profile,
                            struct sim_host_plan *plan, enum sim_collector_kind kind)
{
    // Peers are asked a few times in a run only: where they misbehave they do it often.
    static const uint32_t per_million[] = {0, 100000, 300000, 700000};
    uint32_t unruly = profile->rude ? 3 : weir_sim_draw(sim, "unruly", 0, 3);
    if (unruly > 0) {
        weir_sim_rate(sim, WEIR_SIM_PEER, per_million[unruly]);
    }
    if (profile->lingering) {
        weir_sim_rate(sim, WEIR_SIM_DELAY, per_million[weir_sim_draw(sim, "lingering", 0, 3)]);
        weir_sim_rate(sim, WEIR_SIM_TIME, per_million[weir_sim_draw(sim, "leaps", 0, 2)]);
    }
    uint32_t troubles = profile->exact ? 0 : weir_sim_draw(sim, "troubles", 0, 4);
    struct sim_collector_options collector = {
        .kind = kind,
        .habits = profile->habits == 0 ? UINT32_MAX : profile->habits,
        .window_messages = plan->options.window_messages,
        .unhurried = kind == SIM_COLLECTOR_RELP && !profile->exact,
        .bytes_draw = draw_scaled(sim, "habit_bytes", 16, profile->brief ? 256 : 4096),
        .pause_ns = MS * draw_scaled(sim, "pause", 1, 32),
        .rest_ns = MS * draw_scaled(sim, "rest", 1, 64),
        .troubles = troubles,
        .late_ns_max = profile->exact ? 0 : MS * 50,
        .prompt = profile->prompt,
    };
    if (kind == SIM_COLLECTOR_RELP) {
        collector.answers_draw = draw_scaled(sim, "manner_answers", 1, 32);
    }
    bool several = profile->refuge || profile->levels || profile->moves;
    uint32_t least = several ? 2 : 1;
    plan->collectors_count = weir_sim_draw(sim, "collectors", least, profile->collectors_max);
    for (uint32_t i = 0; i < plan->collectors_count; i++) {
        collector.incorrigible = profile->refuge && i == 0;
        collector.manners = profile->refuge && i > 0 ? 0 : profile->manners;
        collector.path = host_paths[i];
        collector.host = host_numbers[i];
        collector.port = (uint16_t)(profile->moves ? 6010 : 6010 + i);
        plan->collectors[i] = collector;
        bool equal = i > 0 && profile->levels && weir_sim_draw(sim, "equal", 0, 1) == 1;
        plan->levels[i] = i == 0 ? 0 : plan->levels[i - 1] + (equal ? 0 : 1);
        if (i == 0 || !profile->moves) {
            plan_endpoint(plan, i);
        }
    }
}

static enum sim_promise plan_promise(const struct sim_host_plan *plan)
{
    bool datagrams = plan->collectors[0].kind >= SIM_COLLECTOR_UNIX_DATAGRAM;
    if (plan->options.confirm == WEIR_CONFIRM_SENT || datagrams) {
        return SIM_PROMISE_SENT;
    }
    if (plan->collectors[0].kind == SIM_COLLECTOR_RELP) {
        return SIM_PROMISE_ANSWERED;
    }
    bool acknowledged =
        plan->collectors[0].kind == SIM_COLLECTOR_TCP && plan->options.epoch_bytes_max == 0;
    return acknowledged ? SIM_PROMISE_ACKNOWLEDGED : SIM_PROMISE_READ;
}

// ---- The host ----

static void plan_tricks(struct weir_sim *sim, const struct sim_host_profile *profile,
                        struct sim_host_plan *plan)
{
    plan->exact = profile->exact;
    plan->lasts = profile->brief && !profile->exact;
    plan->routed = profile->levels;
    plan->outage = profile->outage;
    plan->moves = profile->moves;
    if (profile->levels) {
        plan->options.failback_ms = draw_scaled(sim, "failback", 1, 100);
    }
    plan->tricks = profile->tricks_always;
    uint32_t drawn = weir_sim_draw(sim, "tricks", 0, (1u << SIM_TRICKS_COUNT) - 1);
    plan->tricks |= profile->tricks & drawn;
}

static void plan_traffic(struct weir_sim *sim, const struct sim_host_profile *profile,
                         struct sim_host_plan *plan)
{
    static const uint32_t trouble_ms_max[SIM_PACES_COUNT] = {64, 64, 128, 2000};
    plan->producers = weir_sim_draw(sim, "producers", 1, profile->producers_max);
    plan->messages = draw_scaled(sim, "messages", 1, profile->messages_max);
    uint32_t pace_max = profile->brief ? SIM_PACE_BRISK : SIM_PACES_COUNT - 1;
    plan->pace = (enum sim_pace)weir_sim_draw(sim, "pace", 0, pace_max);
    uint32_t trouble_ms = profile->brief ? BRIEF_MS_MAX : trouble_ms_max[plan->pace];
    plan->trouble_ns = MS * draw_scaled(sim, "trouble", 1, trouble_ms);
    plan->close_timeout_ms = weir_sim_draw(sim, "close_at_once", 0, 3) == 3
                                 ? 0
                                 : draw_scaled(sim, "close_timeout", 1, 500);
    plan->seed = weir_sim_draw(sim, "host_seed", 0, INT32_MAX);
}

void sim_host_draw(struct weir_sim *sim, const struct sim_host_profile *profile,
                   struct sim_host_plan *plan)
{
    *plan = (struct sim_host_plan){.workers = 0};
    struct weir_pool_options *options = &plan->options;
    weir_pool_options_init(options);
    enum sim_collector_kind kind = (enum sim_collector_kind)draw_of(sim, "kind", profile->kinds);
    bool datagrams = kind >= SIM_COLLECTOR_UNIX_DATAGRAM;
    plan_tricks(sim, profile, plan);
    options->full = (enum weir_full)draw_of(sim, "full", profile->fulls);
    options->pool_size = weir_sim_draw(sim, "writers", 1, profile->writers_max);
    options->gap_records = profile->gap_records && !datagrams && weir_sim_draw(sim, "gaps", 0, 1);
    options->confirm = profile->confirm;
    options->epoch_bytes_max = profile->no_epochs ? 0 : draw_scaled(sim, "epoch_bytes", 1, 8192);
    options->epoch_interval_ms = draw_scaled(sim, "epoch_interval", 1, 500);
    plan_times(sim, profile, options);
    if (kind == SIM_COLLECTOR_RELP) {
        plan_relp(sim, profile, options);
    }
    plan_text(sim, options, kind);
    plan_sizes(sim, profile, plan);
    bool named = kind != SIM_COLLECTOR_UNIX && kind != SIM_COLLECTOR_UNIX_DATAGRAM;
    plan->tricks &= named ? UINT32_MAX : ~(1u << SIM_TRICK_LATE_NAME);
    if ((plan->tricks >> SIM_TRICK_LATE_NAME & 1) != 0) {
        plan->name = host_name;
        plan->name_delay_ns = MS * weir_sim_draw(sim, "name_delay", 0, 20);
    }
    plan_collectors(sim, profile, plan, kind);
    plan_traffic(sim, profile, plan);
    // A host that drives the runtime itself cannot wait for room.
    plan->workers =
        profile->no_workers
            ? 0
            : weir_sim_draw(sim, "workers", options->full == WEIR_FULL_BLOCK ? 1 : 0, 3);
    plan->turn_polls = draw_scaled(sim, "turn_polls", 1, 64);
    options->endpoint = plan->endpoint;
    plan->promise = plan_promise(plan);
}
