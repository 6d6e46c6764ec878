// The writer's connection.
#include "writer/epoch.h"
#include "writer/link.h"

#include <errno.h>
#include <sys/socket.h>

#include "runtime/assert.h"
#include "runtime/cold.h"
#include "writer/session.h"

// Parts of one send. At 64 KiB a segment this is more than any socket takes at once.
#define PARTS_MAX 64
// Bytes of one send, at most: about what a socket takes at once, so that the system call's cost
// disappears. To the ledger of a Unix socket a large send is no worse than several small ones: the
// kernel splits it, and what it holds of it is little more than what is unread (ledger.h, step 4).
#define SEND_BYTES_MAX (256u * 1024)
// And at least, after failures: a short message or two.
#define SEND_BYTES_MIN 128u
// From here on the payload is nearly all the memory that a send takes, and counting it would tell
// the ledger nothing more.
#define SEND_BYTES_COUNTED_MAX (16u * 1024)
// Sends in one go, before the task looks at everything else again.
#define SENDS_MAX 8
// Datagrams in one go.
#define DATAGRAMS_MAX 64
// Reads in one go of what nobody asked for.
#define READS_MAX 16
// How long after the peer's end of stream a reset may follow: the time between shutdown and close
// in a peer that ends over unread data, and a round trip.
#define LINGER_NS 50000000u
// Before another try when the kernel had no memory.
#define STARVED_PAUSE_NS 10000000u

bool weir_link_is_unix(const struct weir_endpoint *endpoint)
{
    return endpoint->transport == WEIR_TRANSPORT_UNIX ||
           endpoint->transport == WEIR_TRANSPORT_UNIX_DGRAM;
}

bool weir_link_is_resource_error(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM ||
           error == WEIR_EMEMORY || error == WEIR_ELIMIT;
}

static const struct weir_endpoint *link_endpoint(const struct weir_writer *me)
{
    return &me->plan->endpoints[me->route.endpoint];
}

bool weir_link_needs_proof(const struct weir_writer *me)
{
    return me->plan->confirm == WEIR_CONFIRM_PEER &&
           link_endpoint(me)->transport == WEIR_TRANSPORT_TCP;
}

// ---- Dialing ----

void weir_link_resolve(struct weir_resolve *resolve, const struct weir_endpoint *endpoint)
{
    if (weir_link_is_unix(endpoint)) {
        int error = weir_address_unix(&resolve->addresses[0], endpoint->path);
        weir_assert(error == 0); // the endpoint's parser bounds the path
        return;
    }
    int error = weir_resolve_init(resolve, endpoint->host, endpoint->port);
    weir_assert(error == 0);
}

void weir_link_dial(struct weir_writer *me)
{
    int type = me->plan->stream ? SOCK_STREAM : SOCK_DGRAM;
    weir_connect_init(&me->connect, &me->stream, &me->resolve.addresses[me->address], type);
}

// Sets it, if the host asked for a value. A kernel that does not know it serves without.
static void link_option(struct weir_writer *me, enum weir_socket_option option, uint32_t value)
{
    if (value != 0) {
        (void)me->os->socket_option(me->os->self, me->stream.fd, option, (int)value);
    }
}

void weir_link_begin(struct weir_writer *me)
{
    if (me->send_bytes_max == 0) {
        me->send_bytes_max = SEND_BYTES_MAX;
    }
    enum weir_ledger_kind kind = WEIR_LEDGER_SENT;
    if (me->plan->confirm == WEIR_CONFIRM_PEER) {
        kind = weir_link_is_unix(link_endpoint(me)) ? WEIR_LEDGER_UNIX : WEIR_LEDGER_TCP;
    }
    weir_ledger_init(&me->ledger, kind);
    if (weir_transport_is_tcp(link_endpoint(me)->transport)) {
        const struct weir_pool_plan *plan = me->plan;
        link_option(me, WEIR_SOCKET_KEEPALIVE, (plan->keepalive_ms + 999) / 1000);
        link_option(me, WEIR_SOCKET_USER_TIMEOUT_MS, plan->tcp_user_timeout_ms);
        link_option(me, WEIR_SOCKET_NOTSENT_BYTES, plan->notsent_bytes_max);
        link_option(me, WEIR_SOCKET_NODELAY, 1); // batches are complete when they are sent
    }
    weir_stream_ready_init(&me->readable, &me->stream, WEIR_READABLE);
    weir_stream_ready_init(&me->writable, &me->stream, WEIR_WRITABLE);
    weir_session_begin(me);
}

void weir_link_break(struct weir_writer *me, enum weir_fault fault)
{
    if (me->broken == 0) {
        me->broken = (int)fault + 1;
    }
}

// An error from any call on the socket: the ledger hears of it in any case.
WEIR_COLD static void link_error(struct weir_writer *me, int error, enum weir_fault fault)
{
    weir_assert(error < 0);
    if (me->ledger.step != WEIR_LEDGER_OVER) {
        weir_ledger_error(&me->ledger, error);
    }
    fault = error == -ECONNRESET ? WEIR_FAULT_RESET : fault;
    weir_link_break(me, error == -ETIMEDOUT ? WEIR_FAULT_TIMEOUT : fault);
}

// ---- Reading ----

// Reads and counts once; notes the peer's end and errors.
// returns  false: there is nothing to read.
static bool link_read(struct weir_writer *me)
{
    unsigned char bytes[4096];
    int64_t count = me->os->socket_recv(me->os->self, me->stream.fd, bytes, sizeof(bytes));
    if (count > 0) {
        weir_counter_add(&me->counters.received_bytes, (uint64_t)count);
        weir_session_read(me, bytes, (size_t)count);
    } else if (count == 0 && me->plan->stream) {
        weir_ledger_end_of_stream(&me->ledger);
        me->peer_ended = true;
        if (me->machine == WEIR_STATE_DRAINING) {
            return true;
        }
        if (weir_epoch_used(me)) { // a witness, unless a reset follows: epoch.h
            me->alarms[WEIR_ALARM_LINGER] = me->now_ns + LINGER_NS;
            // Until then nobody looks at these, and left to ring they would keep the task awake.
            me->alarms[WEIR_ALARM_EPOCH] = WEIR_NEVER;
            me->alarms[WEIR_ALARM_STARVED] = WEIR_NEVER;
        } else {
            weir_link_break(me, WEIR_FAULT_PEER_CLOSED);
        }
    } else if (count == -EAGAIN || count == -EWOULDBLOCK) {
        return false;
    } else if (count < 0 && count != -EINTR) {
        link_error(me, (int)count, WEIR_FAULT_READ);
    }
    return true;
}

// The peer is known to have ended its side: reads up to there, since an end that was read before
// any error tells that the peer had read to ours.
WEIR_COLD static void link_read_end(struct weir_writer *me)
{
    for (uint32_t i = 0; i < READS_MAX && !me->peer_ended && me->broken == 0; i++) {
        if (!link_read(me)) {
            break;
        }
    }
    if (!me->peer_ended) {
        weir_link_break(me, WEIR_FAULT_PEER_CLOSED);
    }
}

// ---- Sending ----

void weir_link_send_failed(struct weir_writer *me, int error)
{
    if (error == -EAGAIN || error == -EWOULDBLOCK) {
        me->blocked = true;
        if (me->writable.future.resume == WEIR_RESUME_DONE) {
            weir_stream_ready_again(&me->writable);
        }
    } else if (error == -ENOBUFS || error == -ENOMEM) {
        // The kernel is short of memory, and no event tells when it is not: an alarm does.
        weir_counter_add(&me->counters.faults[WEIR_FAULT_RESOURCE], 1);
        me->alarms[WEIR_ALARM_STARVED] = me->now_ns + STARVED_PAUSE_NS;
    } else if (error != -EINTR) {
        link_error(me, error, WEIR_FAULT_WRITE);
    }
}

// What the ledger is told of a send's memory.
static uint64_t link_count(struct weir_writer *me, uint64_t bytes)
{
    if (me->ledger.kind != WEIR_LEDGER_UNIX) {
        return 0;
    }
    if (bytes > SEND_BYTES_COUNTED_MAX) {
        return WEIR_LEDGER_UNCOUNTED;
    }
    int64_t count = me->os->socket_outstanding(me->os->self, me->stream.fd);
    if (count < 0) {
        link_error(me, (int)count, WEIR_FAULT_WRITE);
        return WEIR_LEDGER_UNCOUNTED;
    }
    return (uint64_t)count;
}

static void link_sent(struct weir_writer *me, uint64_t bytes)
{
    weir_counter_add(&me->counters.sends, 1);
    weir_counter_add(&me->counters.sent_bytes, bytes);
    weir_transit_sent(&me->transit, bytes);
    me->alarms[WEIR_ALARM_STALL] = WEIR_NEVER;
    weir_ledger_sent(&me->ledger, bytes, link_count(me, bytes));
}

bool weir_link_waits(const struct weir_writer *me)
{
    return me->ledger.kind == WEIR_LEDGER_UNIX && me->send_bytes_max < SEND_BYTES_MAX &&
           weir_transit_unconfirmed(&me->transit);
}

// Whether there is no use in another send now.
static bool link_send_over(const struct weir_writer *me)
{
    return me->blocked || me->broken != 0 || me->alarms[WEIR_ALARM_STARVED] != WEIR_NEVER ||
           weir_link_waits(me);
}

// What poll() says of the connection; nothing when it fails, which says nothing about the peer.
static uint32_t link_state(const struct weir_writer *me)
{
    int state = me->os->socket_state(me->os->self, me->stream.fd);
    return state < 0 ? 0 : (uint32_t)state;
}

static uint64_t parts_bytes(const struct weir_iovec *parts, size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += parts[i].bytes_count;
    }
    return bytes;
}

static void link_send_stream(struct weir_writer *me)
{
    bool tcp = weir_transport_is_tcp(link_endpoint(me)->transport);
    // On TCP the first write after the peer's close succeeds and is lost: look before.
    if (tcp && (link_state(me) & WEIR_PEER_CLOSED) != 0) {
        link_read_end(me);
        return;
    }
    struct weir_iovec parts[PARTS_MAX];
    for (uint32_t i = 0; i < SENDS_MAX && weir_transit_unsent(&me->transit); i++) {
        size_t count = weir_transit_gather(&me->transit, parts, PARTS_MAX, me->send_bytes_max);
        int64_t sent = me->os->socket_send(me->os->self, me->stream.fd, parts, count);
        if (sent > 0) {
            link_sent(me, (uint64_t)sent);
            if ((uint64_t)sent < parts_bytes(parts, count)) {
                weir_ledger_cut_short(&me->ledger);
            }
        } else {
            weir_link_send_failed(me, sent == 0 ? -EAGAIN : (int)sent);
        }
        if (link_send_over(me)) {
            return;
        }
    }
}

static void link_send_datagrams(struct weir_writer *me)
{
    struct weir_iovec part;
    for (uint32_t i = 0; i < DATAGRAMS_MAX && weir_transit_message(&me->transit, &part); i++) {
        int64_t sent = me->os->socket_send(me->os->self, me->stream.fd, &part, 1);
        if (sent >= 0) {
            link_sent(me, part.bytes_count); // a datagram goes whole or not at all
            weir_transit_confirm(&me->transit, me->transit.sent, me->now_ns);
        } else if (sent == -EMSGSIZE) {
            weir_transit_skip(&me->transit, me->now_ns);
        } else {
            weir_link_send_failed(me, (int)sent);
        }
        if (link_send_over(me)) {
            return;
        }
    }
}

void weir_link_send(struct weir_writer *me)
{
    if (me->plan->stream) {
        link_send_stream(me);
    } else {
        link_send_datagrams(me);
    }
}

// A Unix peer confirms whole sends. One that dies before it has read a whole one confirms nothing,
// and would get the same send again and again: so after such a connection sends are half as large,
// and they grow again with each confirmation.
void weir_link_adapt(struct weir_writer *me, bool progress)
{
    uint32_t bytes = progress ? me->send_bytes_max * 2 : me->send_bytes_max / 2;
    bytes = bytes < SEND_BYTES_MIN ? SEND_BYTES_MIN : bytes;
    me->send_bytes_max = bytes < SEND_BYTES_MAX ? bytes : SEND_BYTES_MAX;
}

// ---- Receiving ----

void weir_link_receive(struct weir_writer *me, struct weir_context *context)
{
    for (uint32_t i = 0; i < READS_MAX; i++) {
        if (me->broken != 0 || me->peer_ended ||
            weir_future_poll(&me->readable.future, context) == WEIR_PENDING) {
            return;
        }
        if (!link_read(me)) {
            weir_stream_ready_again(&me->readable);
        }
    }
    // There may be more, and no event will tell: look again after the others had their turn.
    weir_context_wake(context, weir_context_waker(context));
}

// ---- Confirming ----

uint64_t weir_link_sample(struct weir_writer *me)
{
    const struct weir_os *os = me->os;
    int64_t outstanding = os->socket_outstanding(os->self, me->stream.fd);
    if (outstanding < 0) {
        link_error(me, (int)outstanding, WEIR_FAULT_READ);
        return 0;
    }
    bool alive = true;
    if (me->ledger.kind == WEIR_LEDGER_UNIX) { // the look comes after the count: see ledger.h
        int state = os->socket_state(os->self, me->stream.fd);
        if (state < 0) { // no look, no conclusion; but the peer may well live
            return me->ledger.confirmed;
        }
        alive = (state & (WEIR_HANGUP | WEIR_FAULT)) == 0;
    }
    return weir_ledger_sample(&me->ledger, (uint64_t)outstanding, alive);
}

uint64_t weir_link_settle(struct weir_writer *me)
{
    const struct weir_os *os = me->os;
    int64_t outstanding = os->socket_outstanding(os->self, me->stream.fd);
    int error = os->socket_error(os->self, me->stream.fd); // after the count: see ledger.h
    if (outstanding < 0 || error < 0) {
        return weir_ledger_died(&me->ledger, UINT64_MAX, ECONNRESET); // nothing can be learned
    }
    return weir_ledger_died(&me->ledger, (uint64_t)outstanding, error);
}

void weir_link_shut(struct weir_writer *me)
{
    if (!me->plan->stream) {
        return;
    }
    if (me->session.state != WEIR_SESSION_NONE) {
        weir_session_shut(me);
        return;
    }
    int error = weir_stream_shutdown(&me->stream, WEIR_SHUTDOWN_WRITE);
    if (error < 0) {
        link_error(me, error, WEIR_FAULT_WRITE);
        return;
    }
    weir_ledger_shutdown(&me->ledger);
}

bool weir_link_proof(struct weir_writer *me)
{
    if (me->broken != 0) {
        return false;
    }
    if (me->session.state != WEIR_SESSION_NONE) {
        return weir_session_proof(me);
    }
    if (me->plan->confirm != WEIR_CONFIRM_PEER) {
        return true;
    }
    bool read = weir_transit_held(&me->transit) == 0 ||
                (weir_probe_up(me) && !weir_transit_unconfirmed(&me->transit));
    if (me->ledger.kind == WEIR_LEDGER_UNIX && read) {
        return true; // confirmed by the peer process's own reading
    }
    if (!me->peer_ended) {
        return false;
    }
    const struct weir_os *os = me->os;
    int64_t outstanding = os->socket_outstanding(os->self, me->stream.fd);
    if (outstanding < 0 || !weir_ledger_emptied(&me->ledger, (uint64_t)outstanding)) {
        weir_link_break(me, WEIR_FAULT_PEER_CLOSED); // it ended, but not with everything
        return false;
    }
    int error = os->socket_error(os->self, me->stream.fd);
    if (error < 0 || !weir_ledger_proven(&me->ledger, error)) {
        weir_link_break(me, WEIR_FAULT_RESET);
        return false;
    }
    return true;
}
