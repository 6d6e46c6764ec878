// Edits of inputs of target sim: insert, remove, move, change, splice, and storms of deviations.
#include "fuzz/sim_edits.h"

#include <string.h>

#define GROWN_MAX 2000u    // nothing is inserted into longer lists
#define STORM_EVERY 3u     // of so many inputs one is a storm instead of edits
#define EDITS_SHIFT_MAX 4u // up to 1 << so many edits at once

// ---- Numbers ----

static uint32_t below(struct sim_editor *editor, size_t limit)
{
    return (uint32_t)sim_random_below(&editor->random, limit);
}

static bool one_in(struct sim_editor *editor, uint32_t count)
{
    return below(editor, count) == 0;
}

// 1 .. most, small ones far more often.
static uint32_t small(struct sim_editor *editor, uint32_t most)
{
    uint32_t bits = 32 - (uint32_t)__builtin_clz(most | 1);
    uint32_t value = 1 + below(editor, (size_t)1 << below(editor, bits + 1));
    return value < most ? value : most;
}

// ---- Lists ----

void sim_list_read(struct sim_list *list, const void *bytes, size_t count)
{
    size_t header = count < SIM_INPUT_HEADER ? count : SIM_INPUT_HEADER;
    sim_input_header_read(bytes, count, &list->header);
    list->count = sim_input_decode((const uint8_t *)bytes + header, count - header, list->items,
                                   SIM_LIST_MAX);
}

static bool item_before(const struct weir_sim_deviation *one,
                        const struct weir_sim_deviation *other)
{
    if (one->number != other->number) {
        return one->number < other->number;
    }
    return one->actor != other->actor ? one->actor < other->actor : one->kind < other->kind;
}

// By number, which is roughly by time; edits leave little to do.
static void list_sort(struct sim_list *list)
{
    for (size_t index = 1; index < list->count; index++) {
        struct weir_sim_deviation item = list->items[index];
        size_t to = index;
        for (; to > 0 && item_before(&item, &list->items[to - 1]); to--) {
            list->items[to] = list->items[to - 1];
        }
        list->items[to] = item;
    }
}

size_t sim_list_write(struct sim_list *list, uint8_t *bytes, size_t count_max)
{
    size_t room = (count_max - SIM_INPUT_HEADER) / SIM_INPUT_RECORD * SIM_INPUT_RECORD;
    list_sort(list);
    sim_input_header_write(&list->header, bytes);
    size_t records = sim_input_encode(list->items, list->count, bytes + SIM_INPUT_HEADER, room);
    return SIM_INPUT_HEADER + (records < room ? records : room);
}

void sim_list_remove(struct sim_list *list, size_t first, size_t count)
{
    size_t after = list->count - first - count;
    memmove(&list->items[first], &list->items[first + count], after * sizeof list->items[0]);
    list->count -= count;
}

static void list_append(struct sim_list *list, const struct weir_sim_deviation *item)
{
    if (list->count < GROWN_MAX) {
        list->items[list->count++] = *item;
    }
}

// ---- Places ----

static void places_find(struct sim_editor *editor, uint32_t scenario_id)
{
    size_t first = 0;
    while (first < editor->places_count && editor->places[first].scenario_id != scenario_id) {
        first++;
    }
    size_t end = first;
    while (end < editor->places_count && editor->places[end].scenario_id == scenario_id) {
        end++;
    }
    editor->first = first;
    editor->end = end;
}

static uint32_t place_weight(const struct sim_place *place)
{
    uint32_t magnitude = 33 - (uint32_t)__builtin_clz(place->count | 1);
    switch (place->kind) {
    case WEIR_SIM_SWITCH: return 8 * magnitude;
    case WEIR_SIM_STALE: return 4 * magnitude;
    case WEIR_SIM_WORK: return magnitude;
    default: return 2 * magnitude;
    }
}

// Some kind and actor that the scenario has; without a profile, any that is likely.
static struct sim_place place_draw(struct sim_editor *editor)
{
    uint32_t all = 0;
    for (size_t index = editor->first; index < editor->end; index++) {
        all += place_weight(&editor->places[index]);
    }
    if (all == 0) {
        return (struct sim_place){.kind = below(editor, WEIR_SIM_KINDS_COUNT),
                                  .actor = small(editor, 8) - 1,
                                  .count = 300};
    }
    uint32_t left = below(editor, all);
    size_t index = editor->first;
    while (left >= place_weight(&editor->places[index])) {
        left -= place_weight(&editor->places[index]);
        index++;
    }
    return editor->places[index];
}

static uint32_t value_draw(struct sim_editor *editor, uint32_t kind)
{
    if (kind == WEIR_SIM_WORK) {
        return one_in(editor, 8) ? 1 + below(editor, INT32_MAX) : small(editor, 65535);
    }
    return small(editor, 8);
}

static struct weir_sim_deviation item_draw(struct sim_editor *editor)
{
    struct sim_place place = place_draw(editor);
    // Runs with deviations are longer than those the profile was made of, if anything.
    uint32_t number = one_in(editor, 4) ? small(editor, place.count) - 1
                                        : below(editor, place.count + place.count / 8 + 1);
    return (struct weir_sim_deviation){.kind = place.kind,
                                       .actor = place.actor,
                                       .number = number,
                                       .value = value_draw(editor, place.kind)};
}

// ---- Edits: each changes the list once ----

static void edit_insert(struct sim_editor *editor, struct sim_list *list)
{
    for (uint32_t count = small(editor, 8); count > 0; count--) {
        struct weir_sim_deviation item = item_draw(editor);
        list_append(list, &item);
    }
}

// Another deviation soon after one that is there.
static void edit_insert_near(struct sim_editor *editor, struct sim_list *list)
{
    struct weir_sim_deviation item = list->items[below(editor, list->count)];
    if (one_in(editor, 3)) {
        struct sim_place place = place_draw(editor);
        item.kind = place.kind;
        item.actor = one_in(editor, 2) ? item.actor : place.actor;
    }
    uint32_t step = small(editor, 64);
    item.number =
        one_in(editor, 3) && item.number >= step ? item.number - step : item.number + step;
    item.value = value_draw(editor, item.kind);
    list_append(list, &item);
}

static void edit_remove(struct sim_editor *editor, struct sim_list *list)
{
    sim_list_remove(list, below(editor, list->count), 1);
}

static void edit_remove_range(struct sim_editor *editor, struct sim_list *list)
{
    size_t first = below(editor, list->count);
    sim_list_remove(list, first, small(editor, (uint32_t)(list->count - first)));
}

static void edit_remove_kind(struct sim_editor *editor, struct sim_list *list)
{
    uint32_t kind = list->items[below(editor, list->count)].kind;
    size_t kept = 0;
    for (size_t index = 0; index < list->count; index++) {
        if (list->items[index].kind != kind) {
            list->items[kept++] = list->items[index];
        }
    }
    list->count = kept;
}

static void edit_move(struct sim_editor *editor, struct sim_list *list)
{
    struct weir_sim_deviation *item = &list->items[below(editor, list->count)];
    uint32_t step = small(editor, 256);
    item->number =
        one_in(editor, 2) && item->number >= step ? item->number - step : item->number + step;
}

// Moves one and all that follow it of its kind and actor, as a changed gap does.
static void edit_shift(struct sim_editor *editor, struct sim_list *list)
{
    const struct weir_sim_deviation from = list->items[below(editor, list->count)];
    uint32_t step = small(editor, 64);
    bool down = one_in(editor, 2);
    for (size_t index = 0; index < list->count; index++) {
        struct weir_sim_deviation *item = &list->items[index];
        if (item->kind == from.kind && item->actor == from.actor && item->number >= from.number) {
            item->number = !down                  ? item->number + step
                           : item->number >= step ? item->number - step
                                                  : 0;
        }
    }
}

static void edit_value(struct sim_editor *editor, struct sim_list *list)
{
    struct weir_sim_deviation *item = &list->items[below(editor, list->count)];
    if (item->kind == WEIR_SIM_WORK && one_in(editor, 2)) {
        item->value += one_in(editor, 2) ? 1 : UINT32_MAX;
    } else {
        item->value = value_draw(editor, item->kind);
    }
}

static void edit_place(struct sim_editor *editor, struct sim_list *list)
{
    struct weir_sim_deviation *item = &list->items[below(editor, list->count)];
    struct sim_place place = place_draw(editor);
    item->kind = one_in(editor, 2) ? item->kind : place.kind;
    item->actor = place.actor;
    item->value = value_draw(editor, item->kind);
}

// A piece of another input of the same scenario, in addition or from there on instead.
static void edit_splice(struct sim_editor *editor, struct sim_list *list)
{
    const struct sim_list *other = &editor->other;
    if (other->count == 0 || other->header.scenario_id != list->header.scenario_id) {
        edit_insert(editor, list);
        return;
    }
    size_t first = below(editor, other->count);
    size_t count = 1 + below(editor, other->count - first);
    if (one_in(editor, 2)) {
        uint32_t from = other->items[first].number;
        size_t kept = 0;
        while (kept < list->count && list->items[kept].number < from) {
            kept++;
        }
        list->count = kept;
        count = other->count - first;
    }
    for (size_t index = first; index < first + count; index++) {
        list_append(list, &other->items[index]);
    }
}

// As a run of the simulator's own by seed: kinds that are on, each at a rate of its own.
static void edit_storm(struct sim_editor *editor, struct sim_list *list)
{
    uint32_t gaps[WEIR_SIM_KINDS_COUNT]; // the mean one, 0: off
    for (uint32_t kind = 0; kind < WEIR_SIM_KINDS_COUNT; kind++) {
        uint32_t rarity = kind == WEIR_SIM_STALE ? 6 : 12;
        bool on = kind != WEIR_SIM_WORK && (kind == WEIR_SIM_SWITCH || one_in(editor, 2));
        gaps[kind] = on ? 1u << below(editor, rarity) : 0;
    }
    for (size_t index = editor->first; index < editor->end; index++) {
        const struct sim_place *place = &editor->places[index];
        uint32_t gap = gaps[place->kind];
        uint32_t number = gap == 0 ? place->count : below(editor, 2 * (size_t)gap);
        while (number < place->count && list->count < GROWN_MAX) {
            struct weir_sim_deviation item = {place->kind, place->actor, number,
                                              value_draw(editor, place->kind)};
            list_append(list, &item);
            number += 1 + below(editor, 2 * (size_t)gap);
        }
    }
}

static void edit_draws(struct sim_editor *editor, struct sim_list *list)
{
    list->header.draws = one_in(editor, 8) ? 0 : below(editor, UINT32_MAX);
}

static void (*const edits[])(struct sim_editor *editor, struct sim_list *list) = {
    edit_insert, edit_insert,       edit_insert,      edit_insert_near, edit_insert_near,
    edit_remove, edit_remove_range, edit_remove_kind, edit_move,        edit_move,
    edit_shift,  edit_value,        edit_place,       edit_place,       edit_splice,
};

static void edit_one(struct sim_editor *editor, struct sim_list *list)
{
    if (one_in(editor, 24)) {
        edit_draws(editor, list);
    } else if (list->count == 0) {
        edit_insert(editor, list);
    } else {
        edits[below(editor, sizeof edits / sizeof edits[0])](editor, list);
    }
}

void sim_list_edit(struct sim_editor *editor, struct sim_list *list)
{
    places_find(editor, list->header.scenario_id);
    if (one_in(editor, STORM_EVERY)) {
        edit_draws(editor, list);
        list->count = one_in(editor, 2) ? 0 : list->count;
        edit_storm(editor, list);
        return;
    }
    for (uint32_t left = 1u << below(editor, EDITS_SHIFT_MAX + 1); left > 0; left--) {
        edit_one(editor, list);
    }
}
