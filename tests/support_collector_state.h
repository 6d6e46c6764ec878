// The inside of the scriptable collector, for the files it is made of.
#ifndef WEIR_TESTS_SUPPORT_COLLECTOR_STATE_H
#define WEIR_TESTS_SUPPORT_COLLECTOR_STATE_H

#include <netinet/in.h>
#include <pthread.h>

#include "tests/support_collector.h"

#define CONNECTIONS_MAX 4096

struct connection {
    int fd; // -1: closed
    const struct collector_plan *plan;
    unsigned char *bytes;
    size_t count, max;
    size_t garbage_left;
    bool close_after_garbage;
    bool then_done, stalled, ended, held;
};

struct collector {
    enum collector_kind kind;
    const struct collector_plan *plans;
    size_t plans_count;
    char endpoint[128];
    char directory[64], path[96];
    struct sockaddr_in address;
    int listener; // or the datagram socket; -1: none
    pthread_mutex_t mutex;
    pthread_t thread;
    bool threaded, running;
    struct connection connections[CONNECTIONS_MAX];
    size_t connections_count, bytes, ends;
};

#endif
