// WEIR_COLD: marks a function that runs rarely, so that the compiler makes it small.
//
// For what runs when things open and close, on errors, and for reports; never for what lies on the
// way of a message, a task or a timer. gcc and clang compile such a function for size, lay it aside
// from the others, and take a branch that leads to its call for the unlikely one. So do they with
// static functions that only such functions call: those need no mark.
#ifndef WEIR_RUNTIME_COLD_H
#define WEIR_RUNTIME_COLD_H

#define WEIR_COLD __attribute__((cold))

#endif
