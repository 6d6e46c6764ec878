// Whether this is compiled with AddressSanitizer: SIM_ASAN is 1 or 0.
#ifndef WEIR_SIM_ASAN_H
#define WEIR_SIM_ASAN_H

#if defined(__SANITIZE_ADDRESS__) // gcc
#define SIM_ASAN 1
#elif defined(__has_feature) // clang
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif
#ifndef SIM_ASAN
#define SIM_ASAN 0
#endif

#endif
