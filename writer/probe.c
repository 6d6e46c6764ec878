// Whether a preferred endpoint is up again.
#include "writer/writer.h"

#include <sys/socket.h>

#include "runtime/assert.h"
#include "runtime/cold.h"
#include "writer/link.h"
#include "writer/watch.h"

#define MS UINT64_C(1000000)
// The longest it has to be up: so many doublings of failback_ms.
#define DOUBLINGS_MAX 5

// ---- Steps ----

// Each says whether there is more to do at once.

static bool probe_wait(struct weir_writer *me)
{
    uint32_t wait_ms = me->plan->failback_ms;
    wait_ms = wait_ms > me->plan->retry_interval_ms ? wait_ms : me->plan->retry_interval_ms;
    uint64_t random;
    me->os->entropy(me->os->self, &random, sizeof(random));
    struct weir_backoff spread;
    weir_backoff_init(&spread, 2 * wait_ms * MS, 2 * wait_ms * MS);
    me->probe.step = WEIR_PROBE_WAITING;
    me->probe.deadline_ns = me->now_ns + weir_backoff_next(&spread, random);
    return false;
}

// On to the endpoint at `place`, or at the next one that can be probed.
static bool probe_resolve(struct weir_writer *me, uint32_t place)
{
    struct weir_probe *probe = &me->probe;
    uint32_t preferred = weir_route_preferred(&me->route);
    const struct weir_endpoint *endpoint = NULL;
    for (; place < preferred; place++) {
        probe->endpoint = weir_route_at(&me->route, place);
        endpoint = &me->plan->endpoints[probe->endpoint];
        if (endpoint->transport != WEIR_TRANSPORT_UDP) {
            break;
        }
    }
    if (place >= preferred) {
        return probe_wait(me);
    }
    probe->place = place;
    probe->address = 0;
    probe->addresses_count = 0;
    probe->step = WEIR_PROBE_RESOLVING;
    probe->deadline_ns = WEIR_NEVER;
    weir_link_resolve(&probe->resolve, endpoint);
    return true;
}

static bool probe_connect(struct weir_writer *me)
{
    struct weir_probe *probe = &me->probe;
    weir_connect_init(&probe->connect, &probe->stream, &probe->resolve.addresses[probe->address],
                      me->plan->stream ? SOCK_STREAM : SOCK_DGRAM);
    probe->step = WEIR_PROBE_CONNECTING;
    probe->deadline_ns = me->now_ns + me->plan->connect_timeout_ms * MS;
    return true;
}

static void probe_let_go(struct weir_probe *probe, struct weir_context *context)
{
    weir_drop(&probe->resolve.future, context);
    weir_drop(&probe->connect.future, context);
    weir_drop(&probe->readable.future, context);
    weir_stream_close(&probe->stream);
}

// It is down, as far as this address goes.
static bool probe_down(struct weir_writer *me, struct weir_context *context)
{
    struct weir_probe *probe = &me->probe;
    probe_let_go(probe, context);
    if (probe->address + 1 < probe->addresses_count) {
        probe->address++;
        return probe_connect(me);
    }
    return probe_resolve(me, probe->place + 1);
}

static bool probe_resolving(struct weir_writer *me, struct weir_context *context)
{
    struct weir_probe *probe = &me->probe;
    if (weir_link_is_unix(&me->plan->endpoints[probe->endpoint])) {
        probe->addresses_count = 1;
        return probe_connect(me);
    }
    if (weir_future_poll(&probe->resolve.future, context) == WEIR_PENDING) {
        return false;
    }
    if (probe->resolve.future.result <= 0) {
        return probe_down(me, context);
    }
    probe->addresses_count = (uint32_t)probe->resolve.future.result;
    return probe_connect(me);
}

static bool probe_connecting(struct weir_writer *me, struct weir_context *context)
{
    struct weir_probe *probe = &me->probe;
    if (weir_future_poll(&probe->connect.future, context) == WEIR_PENDING) {
        return me->now_ns >= probe->deadline_ns && probe_down(me, context);
    }
    if (probe->connect.future.result < 0) {
        return probe_down(me, context);
    }
    weir_stream_ready_init(&probe->readable, &probe->stream, WEIR_READABLE);
    uint64_t hold_ns = me->plan->failback_ms * MS;
    probe->step = WEIR_PROBE_HOLDING;
    probe->deadline_ns = me->now_ns + (hold_ns << probe->doublings);
    return true;
}

// What the peer may send is left unread: it stops by itself once the buffers are full.
static bool probe_alive(const struct weir_writer *me)
{
    int state = me->os->socket_state(me->os->self, me->probe.stream.fd);
    return state >= 0 && (state & (WEIR_HANGUP | WEIR_FAULT | WEIR_PEER_CLOSED)) == 0;
}

static bool probe_holding(struct weir_writer *me, struct weir_context *context)
{
    struct weir_probe *probe = &me->probe;
    bool over = me->now_ns >= probe->deadline_ns;
    if (weir_future_poll(&probe->readable.future, context) == WEIR_PENDING && !over) {
        return false;
    }
    if (!probe_alive(me)) {
        return probe_down(me, context);
    }
    if (!over) {
        weir_stream_ready_again(&probe->readable);
        return true;
    }
    probe_let_go(probe, context);
    probe->step = WEIR_PROBE_UP;
    probe->deadline_ns = WEIR_NEVER;
    if (me->transit.limit == UINT64_MAX) {
        me->transit.limit = weir_transit_boundary(&me->transit, me->transit.sent);
        me->alarms[WEIR_ALARM_EPOCH] = WEIR_NEVER; // the end of the epoch is decided
    }
    return false;
}

WEIR_COLD static bool probe_step(struct weir_writer *me, struct weir_context *context)
{
    switch (me->probe.step) {
    case WEIR_PROBE_OFF: return probe_wait(me);
    case WEIR_PROBE_WAITING: return me->now_ns >= me->probe.deadline_ns && probe_resolve(me, 0);
    case WEIR_PROBE_RESOLVING: return probe_resolving(me, context);
    case WEIR_PROBE_CONNECTING: return probe_connecting(me, context);
    case WEIR_PROBE_HOLDING: return probe_holding(me, context);
    case WEIR_PROBE_UP: break;
    }
    return false;
}

// ---- For the writer ----

void weir_probe_look(struct weir_writer *me, struct weir_context *context)
{
    if (me->plan->failback_ms == 0 || weir_route_preferred(&me->route) == 0) {
        return;
    }
    if (weir_watch_deadline_ns(me) != WEIR_NEVER) { // closing: what is left goes where it can
        if (me->probe.step != WEIR_PROBE_UP) {
            weir_probe_drop(me, context);
        }
        return;
    }
    while (probe_step(me, context)) {
    }
    me->alarms[WEIR_ALARM_PROBE] = me->probe.deadline_ns;
}

bool weir_probe_up(const struct weir_writer *me)
{
    return me->probe.step == WEIR_PROBE_UP;
}

void weir_probe_return(struct weir_writer *me)
{
    struct weir_probe *probe = &me->probe;
    weir_assert(probe->step == WEIR_PROBE_UP);
    weir_route_return(&me->route, probe->endpoint);
    me->firsts[probe->endpoint] = probe->resolve.addresses[probe->address];
    probe->step = WEIR_PROBE_OFF;
    probe->returned = true;
}

void weir_probe_drop(struct weir_writer *me, struct weir_context *context)
{
    probe_let_go(&me->probe, context);
    me->probe.step = WEIR_PROBE_OFF;
    me->alarms[WEIR_ALARM_PROBE] = WEIR_NEVER;
}

void weir_probe_judge(struct weir_writer *me, bool served)
{
    struct weir_probe *probe = &me->probe;
    if (!probe->returned) {
        return;
    }
    probe->returned = false;
    if (served) {
        probe->doublings = 0;
    } else if (probe->doublings < DOUBLINGS_MAX) {
        probe->doublings++;
    }
}
