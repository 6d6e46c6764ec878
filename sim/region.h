// Regions: ranges of addresses reserved at once and used as needed, and parts of them hidden.
//
// Reserved memory costs nothing until it is touched, and reads as zero. Hidden memory is what ASan,
// if the build has it, reports the program for touching.
#ifndef WEIR_SIM_REGION_H
#define WEIR_SIM_REGION_H

#include <stddef.h>

#include "sim/asan.h"

#if SIM_ASAN
#include <sanitizer/asan_interface.h>
#endif

void *sim_region_reserve(size_t bytes); // NULL: no addresses
void sim_region_release(void *region, size_t bytes);
// Gives the pages from `keep` to `used` back; they read as zero again.
void sim_region_trim(void *region, size_t keep, size_t used);

static inline void sim_region_hide(void *start, size_t bytes)
{
#if SIM_ASAN
    __asan_poison_memory_region(start, bytes);
#else
    (void)start;
    (void)bytes;
#endif
}

static inline void sim_region_show(void *start, size_t bytes)
{
#if SIM_ASAN
    __asan_unpoison_memory_region(start, bytes);
#else
    (void)start;
    (void)bytes;
#endif
}

#endif
