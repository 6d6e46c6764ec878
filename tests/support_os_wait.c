// The faulty operating system's waiting: pollers, futexes, and the virtual clock they may follow.
#include "tests/support_os_state.h"

#include <stdio.h>
#include <stdlib.h>

// ---- Virtual clock ----

// Lets the virtual clock reach `to_ns` (it never goes back) and the armed timer expire with it.
static void clock_reach(struct support_os *me, uint64_t to_ns)
{
    if (to_ns > atomic_load(&me->now_ns)) {
        atomic_store(&me->now_ns, to_ns);
    }
    pthread_mutex_lock(&me->mutex);
    if (me->armed != NULL && me->armed_ns <= atomic_load(&me->now_ns)) {
        (void)me->inner.poller_arm(me->inner.self, me->armed, 0);
        me->armed = NULL;
    }
    pthread_mutex_unlock(&me->mutex);
}

void support_os_virtual(struct support_os *support, uint64_t now_ns)
{
    atomic_store(&support->now_ns, now_ns);
    atomic_store(&support->is_virtual, true);
}

void support_os_advance(struct support_os *support, uint64_t by_ns)
{
    clock_reach(support, atomic_load(&support->now_ns) + by_ns);
}

static _Noreturn void stuck(const char *where)
{
    fprintf(stderr, "support_os: %s without a deadline, and nothing ends it\n", where);
    abort();
}

static uint64_t real_limit_ns(struct support_os *me)
{
    return me->inner.now_ns(me->inner.self) + SUPPORT_OS_WAIT_MS_MAX * UINT64_C(1000000);
}

static int virtual_futex_wait(struct support_os *me, const _Atomic uint32_t *word,
                              uint32_t expected, uint64_t deadline_ns)
{
    if (deadline_ns == WEIR_NEVER) {
        // Another thread, such as a name lookup's, may still end it: that takes real time.
        int result = me->inner.futex_wait(me->inner.self, word, expected, real_limit_ns(me));
        if (result == -ETIMEDOUT) {
            stuck("futex_wait");
        }
        return result;
    }
    if (atomic_load(word) != expected) {
        return -EAGAIN;
    }
    clock_reach(me, deadline_ns);
    return -ETIMEDOUT;
}

static int virtual_poller_wait(struct support_os *me, const struct weir_poller *poller,
                               struct weir_os_event *events, uint32_t events_max,
                               uint64_t deadline_ns)
{
    int count = me->inner.poller_wait(me->inner.self, poller, events, events_max, 0);
    bool was_woken = atomic_exchange(&me->woken, 0) != 0;
    if (count != 0 || was_woken || deadline_ns == 0) {
        return count;
    }
    pthread_mutex_lock(&me->mutex);
    if (me->armed != NULL && me->armed_ns < deadline_ns) {
        deadline_ns = me->armed_ns;
    }
    pthread_mutex_unlock(&me->mutex);
    if (deadline_ns != WEIR_NEVER) {
        clock_reach(me, deadline_ns);
        return me->inner.poller_wait(me->inner.self, poller, events, events_max, 0);
    }
    uint64_t limit_ns = real_limit_ns(me);
    count = me->inner.poller_wait(me->inner.self, poller, events, events_max, limit_ns);
    was_woken = atomic_exchange(&me->woken, 0) != 0;
    if (count == 0 && !was_woken && me->inner.now_ns(me->inner.self) >= limit_ns) {
        stuck("poller_wait");
    }
    return count;
}

static int virtual_poller_arm(struct support_os *me, struct weir_poller *poller,
                              uint64_t deadline_ns)
{
    pthread_mutex_lock(&me->mutex);
    bool is_due = deadline_ns <= atomic_load(&me->now_ns);
    me->armed = is_due || deadline_ns == WEIR_NEVER ? NULL : poller;
    me->armed_ns = deadline_ns;
    // Not due yet: the real timer gets a moment that never comes, so that it exists all the same.
    uint64_t real_ns = is_due ? 0 : deadline_ns == WEIR_NEVER ? WEIR_NEVER : WEIR_NEVER - 1;
    int result = me->inner.poller_arm(me->inner.self, poller, real_ns);
    pthread_mutex_unlock(&me->mutex);
    return result;
}

// ---- Futex ----

int wrap_futex_wait(void *self, const _Atomic uint32_t *word, uint32_t expected,
                    uint64_t deadline_ns)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_futex_wait);
    if (fault.kind != FAULT_NONE) {
        return fault.code;
    }
    if (atomic_load(&me->is_virtual)) {
        return virtual_futex_wait(me, word, expected, deadline_ns);
    }
    return me->inner.futex_wait(me->inner.self, word, expected, deadline_ns);
}

void wrap_futex_wake(void *self, const _Atomic uint32_t *word, uint32_t waiters_max)
{
    struct support_os *me = self;
    (void)support_os_enter(me, SUPPORT_OS_futex_wake);
    me->inner.futex_wake(me->inner.self, word, waiters_max);
}

// ---- Poller ----

int wrap_poller_open(void *self, struct weir_poller *poller)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_poller_open);
    if (fault.kind != FAULT_NONE) {
        *poller = (struct weir_poller){.fd = -1, .wake_fd = -1, .timer_fd = -1};
        return fault.code;
    }
    int result = me->inner.poller_open(me->inner.self, poller);
    if (result == 0) {
        support_os_opened(me, poller->fd);
        support_os_opened(me, poller->wake_fd);
    }
    return result;
}

void wrap_poller_close(void *self, struct weir_poller *poller)
{
    struct support_os *me = self;
    (void)support_os_enter(me, SUPPORT_OS_poller_close);
    pthread_mutex_lock(&me->mutex);
    me->armed = me->armed == poller ? NULL : me->armed;
    for (size_t fd = 0; fd < me->descriptors_max; fd++) {
        struct descriptor *descriptor = &me->descriptors[fd];
        descriptor->is_watched = descriptor->is_watched && descriptor->poller.fd != poller->fd;
    }
    support_os_closed(me, poller->fd);
    support_os_closed(me, poller->wake_fd);
    support_os_closed(me, poller->timer_fd);
    me->inner.poller_close(me->inner.self, poller);
    pthread_mutex_unlock(&me->mutex);
}

int wrap_poller_add(void *self, const struct weir_poller *poller, int fd, uint64_t token)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_poller_add);
    if (fault.kind != FAULT_NONE) {
        return fault.code;
    }
    pthread_mutex_lock(&me->mutex);
    int result = me->inner.poller_add(me->inner.self, poller, fd, token);
    if (result == 0) {
        struct descriptor *descriptor = support_os_descriptor_make(me, fd);
        descriptor->is_watched = true;
        descriptor->poller = *poller;
        descriptor->token = token;
    }
    pthread_mutex_unlock(&me->mutex);
    return result;
}

int wrap_poller_remove(void *self, const struct weir_poller *poller, int fd)
{
    struct support_os *me = self;
    (void)support_os_enter(me, SUPPORT_OS_poller_remove);
    pthread_mutex_lock(&me->mutex);
    struct descriptor *descriptor = support_os_descriptor(me, fd);
    if (descriptor != NULL) {
        descriptor->is_watched = false;
    }
    int result = me->inner.poller_remove(me->inner.self, poller, fd);
    pthread_mutex_unlock(&me->mutex);
    return result;
}

int wrap_poller_wait(void *self, const struct weir_poller *poller, struct weir_os_event *events,
                     uint32_t events_max, uint64_t deadline_ns)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_poller_wait);
    if (fault.kind != FAULT_NONE) {
        return fault.code;
    }
    if (atomic_load(&me->is_virtual)) {
        return virtual_poller_wait(me, poller, events, events_max, deadline_ns);
    }
    return me->inner.poller_wait(me->inner.self, poller, events, events_max, deadline_ns);
}

void wrap_poller_wake(void *self, const struct weir_poller *poller)
{
    struct support_os *me = self;
    (void)support_os_enter(me, SUPPORT_OS_poller_wake);
    atomic_store(&me->woken, 1);
    me->inner.poller_wake(me->inner.self, poller);
}

int wrap_poller_arm(void *self, struct weir_poller *poller, uint64_t deadline_ns)
{
    struct support_os *me = self;
    struct fault fault = support_os_enter(me, SUPPORT_OS_poller_arm);
    if (fault.kind != FAULT_NONE) {
        return fault.code;
    }
    int timer_fd = poller->timer_fd;
    int result = atomic_load(&me->is_virtual)
                     ? virtual_poller_arm(me, poller, deadline_ns)
                     : me->inner.poller_arm(me->inner.self, poller, deadline_ns);
    if (timer_fd < 0) {
        support_os_opened(me, poller->timer_fd);
    }
    return result;
}
