// Where a writer goes next.
#include "writer/route.h"

#include <string.h>

#include "runtime/assert.h"

_Static_assert(WEIR_ENDPOINTS_MAX < 32, "one bit of `tried` for each");

// ---- The order ----

// The first place of the level that `place` is in; and how many there are of it.
static uint32_t level_first(const struct weir_route *route, uint32_t place)
{
    uint32_t first = place;
    while (first > 0 && route->levels[first - 1] == route->levels[place]) {
        first--;
    }
    return first;
}

static uint32_t level_count(const struct weir_route *route, uint32_t first)
{
    uint32_t end = first;
    while (end < route->endpoints_count && route->levels[end] == route->levels[first]) {
        end++;
    }
    return end - first;
}

// Levels take the same places in every writer's order as in the list.
uint32_t weir_route_at(const struct weir_route *route, uint32_t place)
{
    weir_assert(place < route->endpoints_count);
    uint32_t first = level_first(route, place);
    uint32_t count = level_count(route, first);
    return first + (place - first + route->number % count) % count;
}

static uint32_t route_preferred_to(const struct weir_route *route, uint32_t endpoint)
{
    uint32_t first = level_first(route, endpoint);
    return weir_route_at(route, first) == endpoint ? first : first + 1;
}

uint32_t weir_route_preferred(const struct weir_route *route)
{
    return route_preferred_to(route, route->endpoint);
}

// ---- The way ----

void weir_route_init(struct weir_route *route, const uint8_t *levels, uint32_t endpoints_count,
                     uint32_t number)
{
    weir_assert(endpoints_count > 0 && endpoints_count <= WEIR_ENDPOINTS_MAX);
    memset(route, 0, sizeof(*route));
    memcpy(route->levels, levels, endpoints_count);
    for (uint32_t i = 1; i < endpoints_count; i++) {
        weir_assert(levels[i - 1] <= levels[i]);
    }
    route->endpoints_count = endpoints_count;
    route->number = number;
    route->endpoint = weir_route_at(route, 0);
    route->home = route->endpoint;
}

bool weir_route_failed(struct weir_route *route)
{
    route->trusted = false;
    route->tried |= 1u << route->endpoint;
    for (uint32_t place = 0; place < route->endpoints_count; place++) {
        uint32_t next = weir_route_at(route, place);
        if ((route->tried >> next & 1u) == 0) {
            route->endpoint = next;
            return false;
        }
    }
    route->tried = 0;
    route->endpoint = weir_route_at(route, 0);
    return true;
}

void weir_route_broke(struct weir_route *route)
{
    route->trusted = false;
    route->tried = 0;
    if (route->levels[route->endpoint] != route->levels[0]) {
        route->endpoint = weir_route_at(route, 0);
    }
}

void weir_route_again(struct weir_route *route)
{
    route->trusted = true;
    route->tried = 0;
}

void weir_route_return(struct weir_route *route, uint32_t endpoint)
{
    weir_assert(endpoint < route->endpoints_count);
    weir_assert(route_preferred_to(route, endpoint) < weir_route_preferred(route));
    route->trusted = false;
    route->tried = 0;
    route->endpoint = endpoint;
}

enum weir_route_move weir_route_arrived(struct weir_route *route)
{
    uint32_t before = route->home;
    route->home = route->endpoint;
    if (before == route->endpoint) {
        return WEIR_ROUTE_STAYED;
    }
    bool better = weir_route_preferred(route) < route_preferred_to(route, before);
    return better ? WEIR_ROUTE_BACK : WEIR_ROUTE_AWAY;
}

// ---- Addresses ----

static bool address_same(const struct weir_address *a, const struct weir_address *b)
{
    return a->bytes_count == b->bytes_count && memcmp(a->bytes, b->bytes, a->bytes_count) == 0;
}

void weir_route_turn(struct weir_address *addresses, uint32_t count,
                     const struct weir_address *first)
{
    uint32_t at = 0;
    while (at < count && !address_same(&addresses[at], first)) {
        at++;
    }
    for (uint32_t i = 0; at < count && i < at; i++) {
        struct weir_address passed = addresses[0];
        memmove(&addresses[0], &addresses[1], (count - 1) * sizeof(addresses[0]));
        addresses[count - 1] = passed;
    }
}
