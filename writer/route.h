// Route: which endpoint of the list a writer uses next, and which of a name's addresses.
//
// The list has levels; those of a lower one are preferred, those of one level serve equally well.
// Each writer has an order of its own over the list: level by level, and within a level of n from
// the (number modulo n)-th on, around. So the writers of a pool are spread over a level, and one
// that loses its endpoint takes the next of the level, then those of the next level.
//
// What fails is passed over until everything else of the list has failed too; then the writer waits
// (backoff.h) and starts over at the first of its order. So between two waits nothing is tried
// twice and nothing is left out. What served and broke is tried again first after the wait: it may
// have just restarted; but where something better is in the list, that comes first.
//
// Preferred to the endpoint in use are those of lower levels, and the writer's first choice of the
// same one: probe.h looks for them, so that a pool also spreads again after one has been away.
//
// Pure: no I/O, no clock, no memory.
#ifndef WEIR_WRITER_ROUTE_H
#define WEIR_WRITER_ROUTE_H

#include "runtime/cold.h"
#include "weir.h"
#include "writer/limits.h"

// Values only; private below but for `endpoint`, which is the one to use: an index into the list.
struct weir_route {
    uint32_t endpoint;
    uint32_t endpoints_count;
    uint32_t number; // of the writer
    uint32_t tried;  // those that failed since the last wait: bit i for index i
    uint32_t home;   // the last one that was connected, the first choice before that
    bool trusted;    // a connection before the present one, and joined to it, served
    uint8_t levels[WEIR_ENDPOINTS_MAX];
};

// What a connection means for where the writer was before.
enum weir_route_move {
    WEIR_ROUTE_STAYED,
    WEIR_ROUTE_AWAY, // what was in use failed: a failover
    WEIR_ROUTE_BACK  // to one that is preferred: a failback
};

// Begins at the first choice.
//   levels   never falling; copied. endpoints_count: 1 to WEIR_ENDPOINTS_MAX.
WEIR_COLD void weir_route_init(struct weir_route *route, const uint8_t *levels,
                               uint32_t endpoints_count, uint32_t number);

// The endpoint came to nothing: no address, no connection, or one that brought nothing forward.
//   returns  true: so has every other since the last wait; wait before the next is tried.
WEIR_COLD bool weir_route_failed(struct weir_route *route);
// The connection served and is over. A wait comes before the next is tried.
WEIR_COLD void weir_route_broke(struct weir_route *route);
// The connection served, and another one to the same endpoint follows it at once.
WEIR_COLD void weir_route_again(struct weir_route *route);
// The connection served, and one to this endpoint, which is preferred, follows it at once.
WEIR_COLD void weir_route_return(struct weir_route *route, uint32_t endpoint);

// The endpoint is connected.
WEIR_COLD enum weir_route_move weir_route_arrived(struct weir_route *route);

// The endpoint at this place of the writer's order, 0 to endpoints_count - 1.
uint32_t weir_route_at(const struct weir_route *route, uint32_t place);
// How many places of that order, from 0 on, are preferred to the endpoint in use.
uint32_t weir_route_preferred(const struct weir_route *route);

// Turns a list of addresses so that it begins with this one, if that is in it: then a dead address
// before the one that served costs nothing at the next dial.
WEIR_COLD void weir_route_turn(struct weir_address *addresses, uint32_t count,
                               const struct weir_address *first);

#endif
