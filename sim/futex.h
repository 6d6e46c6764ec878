// Futexes: the threads that sleep on a word, in the order in which they fell asleep.
#ifndef WEIR_SIM_FUTEX_H
#define WEIR_SIM_FUTEX_H

#include <stdint.h>

struct weir_sim;
struct sim_futexes;

struct sim_futexes *sim_futexes_create(void);
void sim_futexes_destroy(struct sim_futexes *futexes); // takes NULL
void sim_futexes_begin(struct sim_futexes *futexes);

// As os.h says of futex_wait and futex_wake.
int sim_futex_wait(struct weir_sim *sim, struct sim_futexes *futexes, const volatile void *address,
                   uint32_t expected, uint64_t deadline_ns);
void sim_futex_wake(struct weir_sim *sim, struct sim_futexes *futexes, const volatile void *address,
                    uint32_t waiters_max);
// The process's threads wait no more.
void sim_futexes_kill(struct weir_sim *sim, struct sim_futexes *futexes, uint32_t process);

#endif
