// What every future is composed with: poll, drop, any, all; sleep, interval, timeout, yield.
//
// Also the version, and the texts of the error codes. A leaf's `resume` is WEIR_RESUME_START until
// it has something to undo.
#include <stdio.h>

#include "runtime/cold.h"
#include "runtime/timer.h"
#include "runtime/wait.h"
#include "runtime/worker.h"

WEIR_COLD const char *weir_version(void)
{
    return WEIR_VERSION;
}

WEIR_COLD const char *weir_error_text(int code)
{
    if (code >= 0) {
        return "no error";
    }
    switch (code) {
#define ERROR_CASE(name, value, text)                                                              \
    case name: return text;
        WEIR_ERRORS(ERROR_CASE)
#undef ERROR_CASE
    default: return "system error";
    }
}

// ---- Poll and drop ----

WEIR_COLD void weir_resume_invalid(int32_t resume)
{
    char text[96];
    (void)snprintf(text, sizeof text, "resume %d: an await inside a switch, or overwritten memory",
                   (int)resume);
    weir_assert_failed(text, __FILE__, __LINE__);
}

WEIR_COLD void weir_future_invalid(const struct weir_future *future)
{
    weir_assert_failed(future->poll == NULL ? "a future that is not zeroed memory"
                                            : "a future that is not being cancelled",
                       __FILE__, __LINE__);
}

void weir_drop(struct weir_future *future, struct weir_context *context)
{
    if (future->poll == NULL || future->resume == WEIR_RESUME_DONE) {
        return;
    }
    weir_assert(future->resume != WEIR_RESUME_EXIT);
    if (future->resume != WEIR_RESUME_START) {
        future->resume = WEIR_RESUME_EXIT;
        enum weir_poll poll = future->poll(future, context);
        weir_assert(poll == WEIR_READY);
    }
    future->resume = WEIR_RESUME_DONE;
    future->result = WEIR_ECANCELED;
}

int weir_poll_any(struct weir_future *const *futures, size_t futures_count, uint32_t *rotor,
                  struct weir_context *context)
{
    weir_assert(futures_count <= INT32_MAX);
    size_t index = rotor != NULL && futures_count > 0 ? *rotor % futures_count : 0;
    for (size_t tried = 0; tried < futures_count; tried++) {
        if (weir_future_poll(futures[index], context) == WEIR_READY) {
            if (rotor != NULL) {
                *rotor = (uint32_t)((index + 1) % futures_count);
            }
            return (int)index;
        }
        index = index + 1 < futures_count ? index + 1 : 0;
    }
    return -1;
}

bool weir_poll_all(struct weir_future *const *futures, size_t futures_count,
                   struct weir_context *context)
{
    bool all = true;
    for (size_t i = 0; i < futures_count; i++) {
        if (weir_future_poll(futures[i], context) != WEIR_READY) {
            all = false;
        }
    }
    return all;
}

// ---- Sleep ----

static uint64_t time_add(uint64_t time_ns, uint64_t duration_ns)
{
    return duration_ns > WEIR_NEVER - time_ns ? WEIR_NEVER : time_ns + duration_ns;
}

// A timer fires the task that started it, and a future stays in its task.
static void timer_check(const struct weir_timer *timer, const struct weir_context *context)
{
    weir_assert(timer->waker.task == context->waker.task);
    weir_assert(timer->waker.generation == context->waker.generation);
}

static enum weir_poll sleep_poll(struct weir_future *future, struct weir_context *context)
{
    struct weir_sleep *sleep = (struct weir_sleep *)future;
    switch (future->resume) {
    case WEIR_RESUME_EXIT:
        weir_timer_stop(&sleep->timer);
        return weir_leaf_done(future, WEIR_ECANCELED);
    case WEIR_RESUME_START: {
        // Not the worker's cached clock: it lies in the past, and the sleep would end early.
        uint64_t now_ns = weir_context_clock_ns(context);
        if (sleep->deadline_ns == 0) {
            sleep->deadline_ns = time_add(now_ns, sleep->duration_ns);
        }
        if (now_ns >= sleep->deadline_ns) {
            break;
        }
        weir_timer_start(context, &sleep->timer, sleep->deadline_ns);
        future->resume = WEIR_RESUME_WAITING;
        return WEIR_PENDING;
    }
    default:
        timer_check(&sleep->timer, context);
        if (!weir_timer_fired(&sleep->timer)) {
            return WEIR_PENDING;
        }
    }
    return weir_context_spend(context) ? weir_leaf_done(future, 0) : WEIR_PENDING;
}

void weir_sleep_init(struct weir_sleep *sleep, uint64_t duration_ns)
{
    *sleep = (struct weir_sleep){.future.poll = sleep_poll, .duration_ns = duration_ns};
}

// A deadline of 0 means "not yet known" until the first poll, which gives the same moment: now.
void weir_sleep_until_init(struct weir_sleep *sleep, uint64_t deadline_ns)
{
    *sleep = (struct weir_sleep){.future.poll = sleep_poll, .deadline_ns = deadline_ns};
}

// ---- Interval ----

enum interval_resume { INTERVAL_BETWEEN = 1, INTERVAL_ARMED = 2 };

// The tick at next_ns is seen now: when the next one is due, and how many were passed over.
static int32_t interval_step(struct weir_interval *interval, uint64_t now_ns)
{
    uint64_t behind = (now_ns - interval->next_ns) / interval->period_ns;
    switch (interval->missed) {
    case WEIR_MISSED_BURST:
        behind = 0;
        interval->next_ns = time_add(interval->next_ns, interval->period_ns);
        break;
    case WEIR_MISSED_DELAY: interval->next_ns = time_add(now_ns, interval->period_ns); break;
    case WEIR_MISSED_SKIP:
        // behind * period <= now - next: no overflow.
        interval->next_ns += behind * interval->period_ns;
        interval->next_ns = time_add(interval->next_ns, interval->period_ns);
        break;
    }
    return behind > INT32_MAX ? INT32_MAX : (int32_t)behind;
}

static enum weir_poll interval_poll(struct weir_future *future, struct weir_context *context)
{
    struct weir_interval *interval = (struct weir_interval *)future;
    if (future->resume == WEIR_RESUME_EXIT) {
        weir_timer_stop(&interval->timer);
        return weir_leaf_done(future, WEIR_ECANCELED);
    }
    if (future->resume == INTERVAL_ARMED) {
        timer_check(&interval->timer, context);
        if (!weir_timer_fired(&interval->timer)) {
            return WEIR_PENDING;
        }
    }
    uint64_t now_ns = weir_context_clock_ns(context);
    if (future->resume == WEIR_RESUME_START) {
        interval->next_ns = time_add(now_ns, interval->period_ns);
        future->resume = INTERVAL_BETWEEN;
    }
    if (now_ns < interval->next_ns) {
        weir_timer_start(context, &interval->timer, interval->next_ns);
        future->resume = INTERVAL_ARMED;
        return WEIR_PENDING;
    }
    if (!weir_context_spend(context)) {
        return WEIR_PENDING;
    }
    future->result = interval_step(interval, now_ns);
    // Not DONE: the next await goes on from here.
    future->resume = INTERVAL_BETWEEN;
    return WEIR_READY;
}

void weir_interval_init(struct weir_interval *interval, uint64_t period_ns, enum weir_missed missed)
{
    weir_assert(period_ns != 0);
    weir_assert(missed <= WEIR_MISSED_SKIP);
    *interval = (struct weir_interval){
        .future.poll = interval_poll, .period_ns = period_ns, .missed = missed};
}

// ---- Timeout ----

static enum weir_poll timeout_poll(struct weir_future *future, struct weir_context *context)
{
    struct weir_timeout *timeout = (struct weir_timeout *)future;
    if (future->resume == WEIR_RESUME_EXIT) {
        weir_drop(timeout->child, context);
        weir_drop(&timeout->sleep.future, context);
        return weir_leaf_done(future, WEIR_ECANCELED);
    }
    future->resume = WEIR_RESUME_WAITING;
    // The child first: it wins a tie, and one that is ready at once never costs a timer.
    if (weir_future_poll(timeout->child, context) == WEIR_READY) {
        weir_drop(&timeout->sleep.future, context);
        return weir_leaf_done(future, timeout->child->result);
    }
    if (weir_future_poll(&timeout->sleep.future, context) == WEIR_READY) {
        weir_drop(timeout->child, context);
        return weir_leaf_done(future, WEIR_ETIMEOUT);
    }
    return WEIR_PENDING;
}

void weir_timeout_init(struct weir_timeout *timeout, struct weir_future *child,
                       uint64_t duration_ns)
{
    weir_assert(child != NULL);
    *timeout = (struct weir_timeout){.future.poll = timeout_poll, .child = child};
    weir_sleep_init(&timeout->sleep, duration_ns);
}

// ---- Yield ----

static enum weir_poll yield_poll(struct weir_future *future, struct weir_context *context)
{
    (void)weir_leaf_done(future, 0); // for who looks next
    weir_worker_poll_again(context->worker);
    return WEIR_PENDING;
}

void weir_yield_init(struct weir_yield *yield)
{
    *yield = (struct weir_yield){.future.poll = yield_poll};
}
