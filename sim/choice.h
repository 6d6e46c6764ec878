// Decisions: the one source of everything that could come out in more than one way.
//
// sim_choose is asked (kind, actor, options) and answers 0 .. options-1, where 0 is benign. The
// number of the decision is counted here, per kind and actor, so that a deviation keeps its meaning
// when others are left out. Where only one answer is possible nothing is asked and nothing counted.
// Each kind has a random stream of its own: a decision added in one shifts no other.
#ifndef WEIR_SIM_CHOICE_H
#define WEIR_SIM_CHOICE_H

#include "sim/limits.h"
#include "weir_sim.h"

struct sim_choices;

struct sim_choices *sim_choices_create(void); // NULL: no memory
void sim_choices_destroy(struct sim_choices *choices);

// A new run, answered as the options say: replay, bytes, or seed and strategy. `kinds` may deviate
// (0: all); WEIR_SIM_WORK always may.
void sim_choices_begin(struct sim_choices *choices, const struct weir_sim_options *options,
                       uint32_t kinds);

// options >= 1.
uint32_t sim_choose(struct sim_choices *choices, enum weir_sim_kind kind, uint32_t actor,
                    uint32_t options);

// Which of these threads runs next: an index. actors[0] is the benign answer: the current thread,
// if it can go on, then the others in ring order. A decision of kind WEIR_SIM_SWITCH by `current`.
// `yielded`: current called something that means "others first", such as a failed spin; PCT puts it
// behind all others.
uint32_t sim_choose_thread(struct sim_choices *choices, uint32_t current, const uint8_t *actors,
                           uint32_t actors_count, bool yielded);
// Before an atomic operation of `current`, where others could run: whether this seed switches at
// calls alone. Then the decision is counted, and answered; if not, ask sim_choose_thread.
bool sim_choose_none(struct sim_choices *choices, uint32_t current);
// Tells the strategies that a thread was started.
void sim_choices_thread(struct sim_choices *choices, uint32_t actor);

// weir_sim_rate and weir_sim_heal.
void sim_choices_rate(struct sim_choices *choices, enum weir_sim_kind kind, uint32_t per_million);
void sim_choices_heal(struct sim_choices *choices);
bool sim_choices_healed(const struct sim_choices *choices);

// The run's record, in the order the deviations happened; valid until the next begin.
const struct weir_sim_deviation *sim_choices_deviations(const struct sim_choices *choices,
                                                        size_t *count);
uint64_t sim_choices_count(const struct sim_choices *choices); // decisions asked
// ... of this kind by this actor.
uint32_t sim_choices_number(const struct sim_choices *choices, uint32_t kind, uint32_t actor);
// The first deviation of a replay that did not apply: its decision never came, or had too few
// answers. false: all applied.
bool sim_choices_unused(const struct sim_choices *choices, struct weir_sim_deviation *deviation);
// One line that says what the seed drew: strategy, its parameters, each kind's rate.
void sim_choices_describe(const struct sim_choices *choices, char *text, size_t text_bytes);

// ---- Exhaustive search ----
//
// Runs are answered along a path; `next` turns its last answer that can still be raised, and drops
// the rest. A path has at most deviations_max answers that are not 0.

void sim_choices_search(struct sim_choices *choices, uint32_t deviations_max); // starts anew
// As begin, for the search's present path.
void sim_choices_begin_search(struct sim_choices *choices, uint32_t kinds);
bool sim_choices_next(struct sim_choices *choices); // false: all paths were walked
// Between the first and the last of these runs begin with begin_search, others with begin.
bool sim_choices_searching(const struct sim_choices *choices);
void sim_choices_search_end(struct sim_choices *choices);

#endif
