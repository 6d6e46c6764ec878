// Names: what each host name resolves to, and how long the answer takes.
#ifndef WEIR_SIM_NAME_H
#define WEIR_SIM_NAME_H

#include "weir.h"

struct weir_sim;
struct sim_names;

struct sim_names *sim_names_create(void);
void sim_names_destroy(struct sim_names *names); // takes NULL
void sim_names_begin(struct sim_names *names);

// As weir_sim_name.
void sim_names_set(struct weir_sim *sim, struct sim_names *names, const char *host,
                   const struct weir_address *addresses, uint32_t addresses_count,
                   uint64_t delay_ns);
// As os.h says of resolve.
int sim_names_resolve(struct weir_sim *sim, const struct sim_names *names, const char *host,
                      uint16_t port, bool numeric, struct weir_address *addresses,
                      uint32_t addresses_max);

#endif
