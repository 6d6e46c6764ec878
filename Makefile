# Builds, tests and installs weir. `make help` lists the targets.
#
# A variant is one way to compile everything: its flags and a folder of its own under BUILD_ROOT, so
# that variants never clean or overwrite each other. Source files are found by folder; a new .c file
# needs no line here.

VERSION := $(shell sed -n 's/^.define WEIR_VERSION "\(.*\)"/\1/p' runtime/weir.h)
SOVERSION := 0

# ---- Knobs: make NAME=value. Remarks stand on lines of their own, since blanks would join the value.
# release, asan, tsan, tiny, sim, coverage, clang, clang-asan, clang-tsan, clang-sim, aarch64. tiny is
# asan with the small bounds of limits.h, which make overflow, wrap and steal everyday events. sim is
# the simulator's fine grain, with the small bounds too; in the others weir-sim has the coarse grain.
VARIANT ?= release
BUILD_ROOT ?= build
BUILD ?= $(BUILD_ROOT)/$(VARIANT)
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
MANDIR ?= $(PREFIX)/share/man
DESTDIR ?=
# 1: warnings are errors. For us and our CI; a future compiler must not break a user's build.
WERROR ?= 0
# 1: show the commands
V ?= 0
CLANG ?= clang
CROSS ?= aarch64-linux-gnu-
# Where tests/install-tools unpacks what must not be installed, and the end-to-end tests find it
export TOOLS_ROOT ?= $(abspath $(BUILD_ROOT))/tools
# Which unit suites the test targets build and run, without "test_": TESTS="queue timer"
TESTS ?=
# Arguments for what run, bench, kill-trials, delivery, million and cross start
ARGS ?=

ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin AR),default)
AR := ar
endif
ifeq ($(origin LD),default)
LD := ld
endif
OBJCOPY ?= objcopy

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
# Two jobs unless the user said otherwise: a -j on the command line wins over this one.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j2
endif
ifeq ($(V),0)
say = @printf '  %-5s %s\n' $(1) $(2);
endif

# ---- Flags
KIND := $(patsubst clang,release,$(patsubst clang-%,%,$(VARIANT)))
ifeq ($(filter release asan tsan tiny sim coverage aarch64,$(KIND)),)
$(error unknown VARIANT "$(VARIANT)": release asan tsan tiny sim coverage clang clang-asan clang-tsan clang-sim aarch64)
endif
ifneq ($(filter clang%,$(VARIANT)),)
override CC := $(CLANG)
endif
ifeq ($(VARIANT),aarch64)
override CC := $(CROSS)gcc
override AR := $(CROSS)ar
endif

# Which of these flags the compiler takes: one trial with all of them, one by one only if that fails.
define probe
try() { echo 'int x;' | $(CC) -Wall -Werror "$$@" -x c -S -o - - >/dev/null 2>&1; }; \
if try $(1); then echo '$(1)'; else for f in $(1); do if try $$f; then echo $$f; fi; done; fi
endef
WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wundef -Wstrict-prototypes -Wmissing-prototypes
WANTED := -Wvla -Wformat=2 -Wtrampolines -Wbidi-chars=any -Werror=format-security \
    -Werror=implicit -Werror=incompatible-pointer-types -Werror=int-conversion
HARDENING := -fstack-protector-strong -fstack-clash-protection -fcf-protection=full \
    -mbranch-protection=standard -fno-delete-null-pointer-checks -fno-strict-overflow \
    -ftrivial-auto-var-init=zero
LINK_HARDENING := -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed
# The sanitizers see less under these: fortify hides accesses, zeroed variables hide reads of them.
ifneq ($(filter release aarch64,$(KIND)),)
WANTED += $(HARDENING)
# Fortify needs the optimiser and warns without it.
FORTIFY = $(if $(filter -O1 -O2 -O3 -Os,$(CFLAGS)),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif
ifneq ($(filter-out help clean uninstall,$(or $(MAKECMDGOALS),all)),)
PROBED := $(shell $(call probe,$(WANTED)))
endif

CFLAGS_release := -O2 -g
CFLAGS_aarch64 := -O2 -g
CFLAGS_asan := -O1 -g
CFLAGS_tsan := -O1 -g
CFLAGS_tiny := -O1 -g
CFLAGS_sim := -O2 -g
CFLAGS_coverage := -O0 -g
CFLAGS ?= $(CFLAGS_$(KIND))
MODE_asan := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
    -Wno-maybe-uninitialized
MODE_tiny = $(MODE_asan) -DWEIR_LIMITS_TINY
MODE_tsan := -fsanitize=thread -fno-omit-frame-pointer -Wno-maybe-uninitialized
# The compiler reports every atomic and every plain access to sim/tsan.c; copies are made calls for it.
# Without tail calls the positions it reports are those of the access.
SIM_FLAGS := -fsanitize=thread -fno-optimize-sibling-calls -Dmemcpy=__tsan_memcpy -Dmemmove=__tsan_memmove \
    -Dmemset=__tsan_memset -Dmemcmp=weir_sim_memcmp
SIM_FLAGS += $(if $(filter clang%,$(VARIANT)),-mllvm -tsan-instrument-func-entry-exit=0,\
    --param=tsan-instrument-func-entry-exit=0 -Wno-tsan)
MODE_sim = $(SIM_FLAGS) -fno-omit-frame-pointer -DWEIR_LIMITS_TINY
MODE_coverage := --coverage -fprofile-update=atomic
LINK_asan := -fsanitize=address,undefined -fno-sanitize-recover=all
LINK_tiny := $(LINK_asan)
LINK_tsan := -fsanitize=thread
LINK_coverage := --coverage
ifneq ($(filter clang%,$(VARIANT)),)
MODE_asan := $(filter-out -Wno-maybe-uninitialized,$(MODE_asan))
MODE_tsan := $(filter-out -Wno-maybe-uninitialized,$(MODE_tsan))
endif
ifneq ($(WERROR),0)
ERRORS := -Werror
endif

COMPILE = $(CC) -std=c11 -D_GNU_SOURCE -iquote . -iquote runtime -iquote writer -iquote sim -fPIC -pthread -fvisibility=hidden \
    $(WARNINGS) $(PROBED) $(ERRORS) $(FORTIFY) $(MODE_$(KIND)) $(CPPFLAGS) $(CFLAGS)
LINK = $(CC) -pthread $(LINK_HARDENING) $(LINK_$(KIND)) $(CFLAGS) $(LDFLAGS)

# ---- Files
COMMAND_SRC := $(wildcard writer/main.c writer/command_*.c)
LIBRARY_SRC := $(filter-out $(COMMAND_SRC),$(wildcard runtime/*.c writer/*.c))
ifeq ($(KIND),sim)
COMMAND_SRC :=
endif
# The simulator's core is never instrumented itself; scenarios are, like the code they run.
SIM_SRC := $(filter-out sim/main.c sim/scenario_%.c,$(wildcard sim/*.c))
SCENARIO_SRC := $(wildcard sim/main.c sim/scenario_*.c)
SUPPORT_SRC := $(wildcard tests/support_*.c)
# Suites named test_sim_* drive the simulator; it has no use for the variants that look at real threads.
SIM_TEST_SRC := $(wildcard tests/test_sim_*.c)
TEST_SRC := $(wildcard tests/test_*.c)
ifeq ($(KIND),sim)
TEST_SRC := $(SIM_TEST_SRC)
endif
ifneq ($(filter tsan coverage,$(KIND)),)
TEST_SRC := $(filter-out $(SIM_TEST_SRC),$(TEST_SRC))
SIM_SRC :=
SCENARIO_SRC :=
endif
# Programs that end-to-end tests and targets below run, such as kill_trials: library only, no CMocka.
TOOL_SRC := $(filter-out $(SUPPORT_SRC) $(wildcard tests/test_*.c),$(wildcard tests/*.c))
ifeq ($(KIND),sim)
TOOL_SRC :=
endif
BENCH_SUPPORT_SRC := $(wildcard tests/bench/bench.c tests/bench/support_*.c)
BENCH_SRC := $(filter-out $(BENCH_SUPPORT_SRC),$(wildcard tests/bench/*.c))
ifneq ($(filter tsan coverage,$(KIND)),)
BENCH_SRC := $(filter-out tests/bench/bench_sim.c,$(BENCH_SRC))
endif
ifeq ($(KIND),sim)
BENCH_SRC := tests/bench/bench_sim.c
endif
ifneq ($(TESTS),)
TEST_SRC := $(filter $(TESTS:%=tests/test_%.c),$(TEST_SRC))
TOOL_SRC :=
endif

OBJ := $(BUILD)/obj
LIBRARY_OBJ := $(LIBRARY_SRC:%.c=$(OBJ)/%.o)
COMMAND_OBJ := $(COMMAND_SRC:%.c=$(OBJ)/%.o)
SIM_OBJ := $(SIM_SRC:%.c=$(OBJ)/%.o)
SCENARIO_OBJ := $(SCENARIO_SRC:%.c=$(OBJ)/%.o)
# Of the library all but the message of a failed assertion, which the simulator words itself.
SIM_LIBRARY_OBJ := $(SIM_OBJ) $(filter-out %/os_linux_assert.o,$(LIBRARY_OBJ))
SUPPORT_OBJ := $(SUPPORT_SRC:%.c=$(OBJ)/%.o)
BENCH_SUPPORT_OBJ := $(BENCH_SUPPORT_SRC:%.c=$(OBJ)/%.o)
PROGRAM_OBJ := $(patsubst %.c,$(OBJ)/%.o,$(TEST_SRC) $(TOOL_SRC) $(BENCH_SRC))
TEST_BIN := $(TEST_SRC:tests/%.c=$(BUILD)/tests/%)
TOOL_BIN := $(TOOL_SRC:tests/%.c=$(BUILD)/tests/%)
BENCH_BIN := $(BENCH_SRC:tests/bench/%.c=$(BUILD)/bench/%)
ALL_OBJ := $(LIBRARY_OBJ) $(COMMAND_OBJ) $(SIM_OBJ) $(SCENARIO_OBJ) $(SUPPORT_OBJ) $(BENCH_SUPPORT_OBJ) $(PROGRAM_OBJ)
COMMAND_BIN := $(if $(COMMAND_SRC),$(BUILD)/weir)
SIM_LIBRARY := $(if $(SIM_SRC),$(BUILD)/libweir-sim.a)
SIM_BIN := $(if $(wildcard sim/main.c),$(if $(SIM_SRC),$(BUILD)/weir-sim))
# A sanitized shared library cannot load into a plain process, so those variants have none.
SHARED := $(if $(filter release aarch64,$(KIND)),$(BUILD)/libweir.so)

# What else there is to make, each beside what it is about: benchmarks, installing, fuzzing. A copy
# of the tree may lack some of it.
PARTS := $(wildcard tests/bench/*.mk ffi/*.mk ffi/*/*.mk fuzz/*.mk)
include $(PARTS)

# ---- Targets
.DEFAULT_GOAL := all
.PHONY: all run test test-quick check coverage kill-trials delivery million sim sim-hashes mutants cross
.PHONY: simulator unit-programs tool-programs bench-programs clean help FORCE

all: $(BUILD)/libweir.a $(SHARED) $(COMMAND_BIN) $(SIM_LIBRARY) $(SIM_BIN) ## the library, the weir command, the simulator (the default)

run: $(COMMAND_BIN) ## build and run the demonstration
	$(BUILD)/weir demo $(ARGS)

# The test targets hand over to tests/run, which builds each variant through this Makefile again.
# A script tests/e2e_x names further tools in a line "# needs: strace"; without them it skips itself.
END_TO_END_TOOLS = $(sort rsyslog $(shell sed -n 's/^\# needs://p' tests/e2e_* 2>/dev/null))
RUN_TESTS = MAKE='$(MAKE)' BUILD_ROOT='$(BUILD_ROOT)' TESTS='$(TESTS)' tests/run

test: ## everything: installs missing tools, structure, unit tests (5 variants), README, end to end
	+@tests/install-tools cmocka
	+@tests/install-tools $(END_TO_END_TOOLS) || true
	+@SEEDS='$(or $(TEST_SEEDS),0..199)' SIM_BUDGET='$(SIM_BUDGET)' \
	    $(RUN_TESTS) structure unit:release unit:asan unit:tsan unit:tiny unit:sim $(SIM_ITEMS) fuzz:sim fuzz:asan fuzz:tiny readme end-to-end

test-quick: ## structure and unit tests of the release variant only; TESTS="queue timer" picks
	+@tests/install-tools cmocka
	+@$(RUN_TESTS) structure unit:release

check: ## every variant with gcc and clang, warnings are errors, then all tests in each
	+@tests/install-tools cmocka clang
	+@tests/install-tools $(END_TO_END_TOOLS) || true
	+@$(MAKE) --no-print-directory WERROR=1 BUILD_ROOT='$(BUILD_ROOT)/check' check-all

.PHONY: check-all
check-all:
	+@$(RUN_TESTS) structure unit:release unit:asan unit:tsan unit:tiny \
	    unit:clang unit:clang-asan unit:clang-tsan unit:sim unit:clang-sim \
	    $(SIM_ITEMS) sim:clang-sim fuzz:sim fuzz:asan fuzz:tiny fuzz:clang-asan readme end-to-end

coverage: ## unit tests under gcov; a table of lines and branches; fails below 95 % and 85 %
	+@tests/install-tools cmocka
	@rm -rf '$(BUILD_ROOT)/coverage/obj'
	+@$(RUN_TESTS) unit:coverage; code=$$?; \
	    tests/coverage '$(BUILD_ROOT)/coverage' 95 85 && exit $$code

kill-trials: $(BUILD)/tests/kill_trials $(BUILD)/tests/pool_kills ## kill the receiver again and again: no false confirmation
	$(BUILD)/tests/kill_trials $(ARGS)
	$(BUILD)/tests/pool_kills $(ARGS)

# QUICK=1: few events and short outages, in a minute and a half instead of ten.
QUICK ?=
delivery: all $(TOOL_BIN) $(BUILD)/bench/bench_dead ## what real collectors' failures lose: the table, weir beside plain; QUICK=1
	+@tests/install-tools rsyslog || true
	+@tests/install-tools iproute2 || true
	+@code=0; WEIR='$(abspath $(BUILD))/weir' WEIR_TOOLS='$(abspath $(BUILD))/tests' \
	    tests/delivery $(if $(QUICK),--quick) $(ARGS) || code=$$?; \
	    $(BUILD)/bench/bench_dead $(if $(QUICK),5 60,21 150) || code=$$?; exit $$code

million: all $(TOOL_BIN) ## a million lines into rsyslog, restarted ten times: peer against sent
	+@tests/install-tools rsyslog || true
	+WEIR='$(abspath $(BUILD))/weir' BUILD='$(abspath $(BUILD))' tests/million $(ARGS)

# Runs of the simulator: the same seeds in both grains. `make sim SEEDS=0..99999 SIM_BUDGET=600`.
SEEDS ?= 0..1999
SIM_BUDGET ?= 150
SIM_ITEMS = sim:sim sim:asan

sim: ## the simulator's scenarios, fine and coarse, SEEDS=A..B, at most SIM_BUDGET seconds a grain
	+@SEEDS='$(SEEDS)' SIM_BUDGET='$(SIM_BUDGET)' $(RUN_TESTS) $(SIM_ITEMS)

sim-hashes: ## the same seeds give the same runs in every compiler, level and architecture
	+@tests/install-tools clang cross || true
	+@MAKE='$(MAKE)' BUILD_ROOT='$(BUILD_ROOT)' tests/sim_hashes $(ARGS)

mutants: ## plants each bug of tests/mutants/ in a copy, and says who finds it; ARGS="--help"
	+@tests/install-tools cmocka
	+@MAKE='$(MAKE)' BUILD_ROOT='$(abspath $(BUILD_ROOT))' tests/mutants/run $(ARGS)

cross: ## build for aarch64 and run the demonstration under qemu
	+@tests/install-tools cross
	+@$(MAKE) --no-print-directory VARIANT=aarch64 BUILD='$(BUILD_ROOT)/aarch64' all
	qemu-aarch64 -L /usr/aarch64-linux-gnu '$(BUILD_ROOT)/aarch64/weir' demo $(ARGS)

clean: ## removes BUILD_ROOT, all variants
	rm -rf '$(BUILD_ROOT)'

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile $(PARTS)
	@echo
	@echo "Knobs: VARIANT (release asan tsan tiny sim coverage clang clang-asan clang-tsan clang-sim aarch64), CC, CFLAGS,"
	@echo "  BUILD_ROOT, PREFIX, LIBDIR, MANDIR, DESTDIR, WERROR=1, V=1, TESTS=\"queue timer\", ARGS=\"...\""
	@echo "Examples: make VARIANT=asan; make test-quick TESTS=queue; make install PREFIX=/usr DESTDIR=/tmp/x"

simulator: $(SIM_BIN) $(BUILD)/public/libweir-sim.a
unit-programs: $(TEST_BIN) $(TOOL_BIN)
tool-programs: $(TOOL_BIN)
bench-programs: $(BENCH_BIN)

# ---- Rules
# Two stamps that change only when their text does. Objects depend on the first, so that other flags
# recompile; the libraries on the second, so that a deleted source file leaves them.
stamp = @mkdir -p $(@D); printf '%s\n' '$(subst ','\'',$(1))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(1))' >$@
$(BUILD)/flags.stamp: FORCE
	$(call stamp,$(COMPILE) $(LINK))
$(BUILD)/sources.stamp: FORCE
	$(call stamp,$(LIBRARY_SRC) $(COMMAND_SRC) $(SIM_SRC) $(SCENARIO_SRC) $(SUPPORT_SRC))

$(ALL_OBJ): $(OBJ)/%.o: %.c $(BUILD)/flags.stamp
	@mkdir -p $(@D)
	$(call say,cc,$<)$(COMPILE) -MMD -MP -c -o $@ $<

$(BUILD)/libweir.a: $(LIBRARY_OBJ) $(BUILD)/sources.stamp
	$(call say,ar,$@)rm -f $@; $(AR) rcs $@ $(LIBRARY_OBJ)

# nodelete: worker threads and the host's atexit order must survive a dlclose.
$(BUILD)/libweir.so: $(LIBRARY_OBJ) $(BUILD)/sources.stamp
	$(call say,ld,$@)$(LINK) -shared -Wl,-soname,libweir.so.$(SOVERSION) -Wl,-z,nodelete -Wl,-z,defs \
	    -o $@ $(LIBRARY_OBJ) $(LDLIBS)
	@ln -sf libweir.so $@.$(SOVERSION)

$(BUILD)/weir: $(COMMAND_OBJ) $(BUILD)/libweir.a $(BUILD)/sources.stamp
	$(call say,ld,$@)$(LINK) -o $@ $(COMMAND_OBJ) $(BUILD)/libweir.a $(LDLIBS)

$(SIM_OBJ): MODE_sim := -DWEIR_LIMITS_TINY
# Switching stacks by hand and a shadow stack exclude each other: what holds it does not claim to bear one.
$(OBJ)/sim/fiber_switch.o: PROBED := $(patsubst -fcf-protection=full,-fcf-protection=branch,$(PROBED))
$(SIM_LIBRARY): $(SIM_LIBRARY_OBJ) $(BUILD)/sources.stamp
	$(call say,ar,$@)rm -f $@; $(AR) rcs $@ $(SIM_LIBRARY_OBJ)

$(SIM_BIN): $(SCENARIO_OBJ) $(SIM_LIBRARY) $(BUILD)/sources.stamp
	$(call say,ld,$@)$(LINK) -Wl,--build-id=sha1 -o $@ $(SCENARIO_OBJ) $(SIM_LIBRARY) $(LDLIBS)

$(filter-out $(BUILD)/tests/test_sim_%,$(TEST_BIN)): $(BUILD)/tests/%: $(OBJ)/tests/%.o $(SUPPORT_OBJ) $(BUILD)/libweir.a $(BUILD)/sources.stamp
	@mkdir -p $(@D)
	$(call say,ld,$@)$(LINK) -o $@ $(filter %.o,$^) $(BUILD)/libweir.a -lcmocka $(LDLIBS)

$(filter $(BUILD)/tests/test_sim_%,$(TEST_BIN)): $(BUILD)/tests/%: $(OBJ)/tests/%.o $(SIM_LIBRARY) $(BUILD)/sources.stamp
	@mkdir -p $(@D)
	$(call say,ld,$@)$(LINK) -Wl,--build-id=sha1 -o $@ $(filter %.o,$^) $(SIM_LIBRARY) -lcmocka $(LDLIBS)

$(TOOL_BIN): $(BUILD)/tests/%: $(OBJ)/tests/%.o $(BUILD)/libweir.a
	@mkdir -p $(@D)
	$(call say,ld,$@)$(LINK) -o $@ $(filter %.o,$^) $(BUILD)/libweir.a $(LDLIBS)

$(BUILD)/bench/bench_sim: $(OBJ)/tests/bench/bench_sim.o $(filter-out %/main.o,$(SCENARIO_OBJ)) $(SIM_LIBRARY)
	@mkdir -p $(@D)
	$(call say,ld,$@)$(LINK) -o $@ $^ $(LDLIBS)

$(filter-out %/bench_sim,$(BENCH_BIN)): $(BUILD)/bench/%: $(OBJ)/tests/bench/%.o $(BENCH_SUPPORT_OBJ) $(BUILD)/libweir.a
	@mkdir -p $(@D)
	$(call say,ld,$@)$(LINK) -o $@ $(filter %.o,$^) $(BUILD)/libweir.a $(LDLIBS)

-include $(ALL_OBJ:.o=.d)
