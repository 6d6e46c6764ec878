// The reactor: a table of watched descriptors between the poller and the tasks that wait for them.
#include "runtime/reactor.h"

#include <errno.h>
#include <string.h>

#include "runtime/assert.h"
#include "runtime/lock.h"
#include "runtime/worker.h"

_Static_assert(sizeof(struct weir_source) == 64, "one cache line");

// ---- The table ----

// Chunk 0 holds the indices below WEIR_SOURCES_FIRST; chunk k as many as all before it.
static uint32_t chunk_of(uint32_t index)
{
    uint32_t rest = index / WEIR_SOURCES_FIRST;
    return rest == 0 ? 0 : 32 - (uint32_t)__builtin_clz(rest);
}

static uint32_t chunk_first(uint32_t chunk)
{
    return chunk == 0 ? 0 : (uint32_t)WEIR_SOURCES_FIRST << (chunk - 1);
}

static uint32_t chunk_count(uint32_t chunk)
{
    return chunk == 0 ? WEIR_SOURCES_FIRST : (uint32_t)WEIR_SOURCES_FIRST << (chunk - 1);
}

static struct weir_source *source_at(struct weir_reactor *reactor, uint32_t index)
{
    weir_assert(index < WEIR_SOURCES_MAX);
    uint32_t chunk = chunk_of(index);
    struct weir_source *sources =
        atomic_load_explicit(&reactor->chunks[chunk], memory_order_acquire); // [R1]
    weir_assert(sources != NULL);
    return &sources[index - chunk_first(chunk)];
}

// Locks the source and says whether it is still the one that is meant.
static bool source_enter(struct weir_reactor *reactor, struct weir_source *source,
                         uint32_t generation)
{
    weir_lock_acquire(&source->lock, reactor->os);
    return source->generation == generation && source->fd >= 0;
}

static void source_leave(struct weir_reactor *reactor, struct weir_source *source)
{
    weir_lock_release(&source->lock, reactor->os);
}

static struct weir_source_side *source_side(struct weir_source *source,
                                            enum weir_readiness direction)
{
    weir_assert(direction == WEIR_READABLE || direction == WEIR_WRITABLE);
    return &source->sides[direction == WEIR_WRITABLE];
}

// Makes sure that the chunk of the next new index exists. With the reactor's lock held.
static int table_grow(struct weir_reactor *reactor)
{
    if (reactor->made_count == WEIR_SOURCES_MAX) {
        return WEIR_ELIMIT;
    }
    uint32_t chunk = chunk_of(reactor->made_count);
    if (atomic_load_explicit(&reactor->chunks[chunk], memory_order_relaxed) != NULL) {
        return 0;
    }
    struct weir_source *sources =
        reactor->os->alloc(reactor->os->self, chunk_count(chunk) * sizeof(struct weir_source),
                           sizeof(struct weir_source));
    if (sources == NULL) {
        return WEIR_EMEMORY;
    }
    // [R1] The release pairs with the acquire in source_at; an index only travels after this.
    atomic_store_explicit(&reactor->chunks[chunk], sources, memory_order_release); // [R1]
    return 0;
}

// Takes a free source. returns 0, WEIR_ELIMIT or WEIR_EMEMORY.
static int table_take(struct weir_reactor *reactor, uint32_t *index)
{
    int code = 0;
    weir_lock_acquire(&reactor->lock, reactor->os);
    if (reactor->free_first != 0) {
        *index = reactor->free_first - 1;
        reactor->free_first = source_at(reactor, *index)->next;
    } else {
        code = table_grow(reactor);
        if (code == 0) {
            *index = reactor->made_count++;
        }
    }
    if (code == 0) {
        atomic_fetch_add_explicit(&reactor->used_count, 1, memory_order_relaxed);
    }
    weir_lock_release(&reactor->lock, reactor->os);
    return code;
}

static void table_give_back(struct weir_reactor *reactor, uint32_t index)
{
    weir_lock_acquire(&reactor->lock, reactor->os);
    uint32_t used = atomic_fetch_sub_explicit(&reactor->used_count, 1, memory_order_relaxed);
    weir_assert(used > 0);
    source_at(reactor, index)->next = reactor->free_first;
    reactor->free_first = index + 1;
    weir_lock_release(&reactor->lock, reactor->os);
}

// Ends a source's present life, so that whatever still names it is stale.
static void source_retire(struct weir_source *source)
{
    source->fd = -1;
    source->generation++;
    memset(source->sides, 0, sizeof(source->sides));
}

// ---- Life ----

int weir_reactor_init(struct weir_reactor *reactor, const struct weir_os *os)
{
    weir_assert(os != NULL);
    memset(reactor, 0, sizeof(*reactor));
    int code = os->poller_open(os->self, &reactor->poller);
    if (code < 0) {
        return code;
    }
    reactor->os = os;
    return 0;
}

void weir_reactor_deinit(struct weir_reactor *reactor)
{
    const struct weir_os *os = reactor->os;
    if (os == NULL) {
        return;
    }
    os->poller_close(os->self, &reactor->poller);
    for (uint32_t chunk = 0; chunk < WEIR_SOURCE_CHUNKS; chunk++) {
        struct weir_source *sources =
            atomic_load_explicit(&reactor->chunks[chunk], memory_order_relaxed);
        if (sources != NULL) {
            os->release(os->self, sources, chunk_count(chunk) * sizeof(struct weir_source));
        }
    }
    memset(reactor, 0, sizeof(*reactor));
}

int weir_reactor_add(struct weir_reactor *reactor, int fd, uint32_t *source, uint32_t *generation)
{
    weir_assert(fd >= 0);
    uint32_t index = 0;
    int code = table_take(reactor, &index);
    if (code < 0) {
        return code;
    }
    struct weir_source *entry = source_at(reactor, index);
    weir_lock_acquire(&entry->lock, reactor->os);
    if (entry->generation == 0) {
        entry->generation = 1; // new, or wrapped: 0 is what zeroed memory says
    }
    entry->fd = fd;
    memset(entry->sides, 0, sizeof(entry->sides));
    uint32_t current = entry->generation;
    source_leave(reactor, entry);

    // Last, and without the lock: the first event may be dispatched before this returns.
    code = reactor->os->poller_add(reactor->os->self, &reactor->poller, fd,
                                   (uint64_t)current << 32 | index);
    if (code < 0) {
        weir_lock_acquire(&entry->lock, reactor->os);
        source_retire(entry);
        source_leave(reactor, entry);
        table_give_back(reactor, index);
        return code;
    }
    *source = index;
    *generation = current;
    return 0;
}

void weir_reactor_remove(struct weir_reactor *reactor, uint32_t source, uint32_t generation)
{
    struct weir_source *entry = source_at(reactor, source);
    bool present = source_enter(reactor, entry, generation);
    int fd = entry->fd;
    if (present) {
        source_retire(entry);
    }
    source_leave(reactor, entry);
    weir_assert(present); // else it was removed twice and may be somebody else's by now
    // A failure changes nothing: closing the descriptor, which comes next, ends the watch as well.
    (void)reactor->os->poller_remove(reactor->os->self, &reactor->poller, fd);
    table_give_back(reactor, source);
}

// ---- Readiness ----

bool weir_reactor_ready(struct weir_reactor *reactor, uint32_t source, uint32_t generation,
                        enum weir_readiness direction, struct weir_waker waker, uint32_t *tick)
{
    struct weir_source *entry = source_at(reactor, source);
    struct weir_source_side *side = source_side(entry, direction);
    bool ready = true;
    *tick = 0;
    if (source_enter(reactor, entry, generation)) {
        ready = side->ready;
        *tick = side->tick;
        side->waker = ready ? (struct weir_waker){0} : waker;
    }
    source_leave(reactor, entry);
    return ready;
}

void weir_reactor_clear(struct weir_reactor *reactor, uint32_t source, uint32_t generation,
                        enum weir_readiness direction, uint32_t tick)
{
    struct weir_source *entry = source_at(reactor, source);
    struct weir_source_side *side = source_side(entry, direction);
    if (source_enter(reactor, entry, generation) && side->tick == tick) {
        side->ready = false;
    }
    source_leave(reactor, entry);
}

void weir_reactor_forget(struct weir_reactor *reactor, uint32_t source, uint32_t generation,
                         enum weir_readiness direction, struct weir_waker waker)
{
    struct weir_source *entry = source_at(reactor, source);
    struct weir_source_side *side = source_side(entry, direction);
    if (source_enter(reactor, entry, generation) && side->waker.task == waker.task &&
        side->waker.generation == waker.generation) {
        side->waker = (struct weir_waker){0};
    }
    source_leave(reactor, entry);
}

// ---- Events ----

static struct weir_waker side_set(struct weir_source_side *side)
{
    struct weir_waker waker = side->waker;
    side->waker = (struct weir_waker){0};
    side->ready = true;
    side->tick++;
    return waker;
}

static void event_dispatch(struct weir_reactor *reactor, struct weir_worker *worker,
                           const struct weir_os_event *event)
{
    // What ends or breaks the socket makes the calls of that direction answer at once.
    const uint32_t reads = WEIR_READABLE | WEIR_PEER_CLOSED | WEIR_HANGUP | WEIR_FAULT;
    const uint32_t writes = WEIR_WRITABLE | WEIR_HANGUP | WEIR_FAULT;
    struct weir_source *entry = source_at(reactor, (uint32_t)event->token);
    struct weir_waker reader = {0};
    struct weir_waker writer = {0};
    if (source_enter(reactor, entry, (uint32_t)(event->token >> 32))) {
        if (event->ready & reads) {
            reader = side_set(&entry->sides[0]);
        }
        if (event->ready & writes) {
            writer = side_set(&entry->sides[1]);
        }
    }
    source_leave(reactor, entry);
    // Stale by now at worst, and then the wake does nothing.
    if (reader.task != NULL) {
        weir_worker_wake_back(worker, reader);
    }
    if (writer.task != NULL &&
        (writer.task != reader.task || writer.generation != reader.generation)) {
        weir_worker_wake_back(worker, writer);
    }
}

int weir_reactor_poll(struct weir_reactor *reactor, struct weir_worker *worker,
                      uint64_t deadline_ns)
{
    struct weir_os_event events[WEIR_EVENTS_MAX];
    // Only a check that the callers keep their rule; it orders nothing.
    uint32_t polling = atomic_exchange_explicit(&reactor->polling, 1, memory_order_relaxed);
    weir_assert(polling == 0);
    int count = reactor->os->poller_wait(reactor->os->self, &reactor->poller, events,
                                         WEIR_EVENTS_MAX, deadline_ns);
    weir_assert(count <= WEIR_EVENTS_MAX);
    for (int index = 0; index < count; index++) {
        event_dispatch(reactor, worker, &events[index]);
    }
    atomic_store_explicit(&reactor->polling, 0, memory_order_relaxed);
    return count == -EINTR ? 0 : count;
}

void weir_reactor_wake(struct weir_reactor *reactor)
{
    reactor->os->poller_wake(reactor->os->self, &reactor->poller);
}
