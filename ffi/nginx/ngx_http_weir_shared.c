// Shared figures: each worker's statistics in memory that all workers see, for weir_status.
//
// The master maps it once per configuration, when the number of workers and pools is known, and
// its workers inherit it: a slot per worker and pool. A worker writes its own slots alone: about a
// second after it began to log, again while it holds what is not delivered, when the library
// reports something, and when it is asked for its status itself; an idle worker has no timer.
// Whoever took a dead one's place overwrites its slots.
//
// A slot is a sequence lock: odd while it is being written. Readers never make a writer wait; what
// they could not read whole, they leave out.
#include "ffi/nginx/ngx_http_weir.h"

#include <stdatomic.h>

#define PUBLISH_MS 1000
#define READ_TRIES_MAX 1000
#define WORDS (sizeof(struct weir_metrics) / sizeof(uint64_t))

_Static_assert(sizeof(struct weir_metrics) % sizeof(uint64_t) == 0, "copied by words");

struct ngx_http_weir_slot_s {
    _Atomic uint64_t sequence;
    _Atomic uint64_t pid; // 0: nothing was published
    _Atomic uint64_t words[WORDS];
};

static ngx_event_t publish_event;

static ngx_http_weir_slot_t *slot_at(ngx_http_weir_main_conf_t *conf, ngx_uint_t index,
                                     ngx_uint_t pool)
{
    return &conf->slots[index * conf->pools.nelts + pool];
}

// ---- Memory ----

static void shared_free(void *data)
{
    ngx_shm_free(data);
}

ngx_int_t ngx_http_weir_shared_create(ngx_cycle_t *cycle)
{
    ngx_http_weir_main_conf_t *conf =
        ngx_http_cycle_get_module_main_conf(cycle, ngx_http_weir_module);
    ngx_core_conf_t *core = (ngx_core_conf_t *)ngx_get_conf(cycle->conf_ctx, ngx_core_module);
    if (conf == NULL || conf->pools.nelts == 0) {
        return NGX_OK;
    }
    ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(cycle->pool, sizeof(ngx_shm_t));
    if (cleanup == NULL) {
        return NGX_ERROR;
    }
    ngx_shm_t *memory = cleanup->data;
    ngx_memzero(memory, sizeof(*memory));
    conf->workers = (ngx_uint_t)ngx_max(core->worker_processes, 1);
    memory->size = conf->workers * conf->pools.nelts * sizeof(ngx_http_weir_slot_t);
    ngx_str_set(&memory->name, "weir_status");
    memory->log = cycle->log;
    if (ngx_shm_alloc(memory) != NGX_OK) { // zeroed
        return NGX_ERROR;
    }
    cleanup->handler = shared_free;
    conf->slots = (ngx_http_weir_slot_t *)memory->addr;
    return NGX_OK;
}

// ---- Writing ----

static void slot_write(ngx_http_weir_slot_t *slot, struct weir_pool *pool, uint64_t *held)
{
    struct weir_metrics metrics;
    uint64_t words[WORDS];
    weir_pool_stats(pool, &metrics);
    ngx_memcpy(words, &metrics, sizeof(words));
    *held += metrics.held_messages;
    // Odd may be what somebody left behind who was killed in here.
    uint64_t odd = atomic_load_explicit(&slot->sequence, memory_order_relaxed) | 1;
    atomic_store_explicit(&slot->sequence, odd, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&slot->pid, (uint64_t)ngx_pid, memory_order_relaxed);
    for (size_t i = 0; i < WORDS; i++) {
        atomic_store_explicit(&slot->words[i], words[i], memory_order_relaxed);
    }
    atomic_store_explicit(&slot->sequence, odd + 1, memory_order_release);
}

void ngx_http_weir_shared_publish(ngx_http_weir_main_conf_t *conf)
{
    ngx_http_weir_pool_t **pools = conf->pools.elts;
    uint64_t held = 0;
    if (ngx_worker >= conf->workers) {
        return;
    }
    for (ngx_uint_t i = 0; i < conf->pools.nelts; i++) {
        if (pools[i]->pool != NULL) {
            slot_write(slot_at(conf, ngx_worker, i), pools[i]->pool, &held);
        }
    }
    if (held > 0) {
        ngx_http_weir_shared_soon(conf);
    }
}

static void publish_handler(ngx_event_t *event)
{
    ngx_http_weir_shared_publish(event->data);
}

void ngx_http_weir_shared_soon(ngx_http_weir_main_conf_t *conf)
{
    if (publish_event.timer_set) {
        return;
    }
    publish_event.handler = publish_handler;
    publish_event.data = conf;
    publish_event.log = ngx_cycle->log;
    publish_event.cancelable = 1; // no reason to put off a graceful end
    ngx_add_timer(&publish_event, PUBLISH_MS);
}

void ngx_http_weir_shared_stop(void)
{
    if (publish_event.timer_set) {
        ngx_del_timer(&publish_event);
    }
}

// ---- Reading ----

ngx_pid_t ngx_http_weir_shared_read(ngx_http_weir_main_conf_t *conf, ngx_uint_t index,
                                    ngx_uint_t pool, struct weir_metrics *metrics)
{
    ngx_http_weir_slot_t *slot = slot_at(conf, index, pool);
    for (ngx_uint_t try = 0; try < READ_TRIES_MAX; try++) {
        uint64_t before = atomic_load_explicit(&slot->sequence, memory_order_acquire);
        uint64_t pid = atomic_load_explicit(&slot->pid, memory_order_relaxed);
        uint64_t words[WORDS];
        for (size_t i = 0; i < WORDS; i++) {
            words[i] = atomic_load_explicit(&slot->words[i], memory_order_relaxed);
        }
        atomic_thread_fence(memory_order_acquire);
        if (before % 2 == 0 &&
            before == atomic_load_explicit(&slot->sequence, memory_order_relaxed)) {
            ngx_memcpy(metrics, words, sizeof(words));
            return (ngx_pid_t)pid;
        }
    }
    return 0;
}
