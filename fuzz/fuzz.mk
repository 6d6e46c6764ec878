# Fuzzing: fuzz/run says more.
.PHONY: fuzz fuzz-all fuzz-min fuzz-coverage fuzz-canary fuzz-programs

# ---- Files
# target_NAME.c makes a program with main_$(FUZZ_MAIN).c. Target sim drives the simulator.
FUZZ_MAIN ?= replay
FUZZ_TARGET_SRC := $(wildcard fuzz/target_*.c)
FUZZ_SEEDS_SRC := $(wildcard fuzz/seeds*.c)
ifneq ($(filter tsan coverage,$(KIND)),)
FUZZ_TARGET_SRC := $(filter-out fuzz/target_sim.c,$(FUZZ_TARGET_SRC))
FUZZ_SEEDS_SRC := $(filter-out fuzz/seeds_sim.c,$(FUZZ_SEEDS_SRC))
endif
ifeq ($(KIND),sim)
FUZZ_TARGET_SRC := $(wildcard fuzz/target_sim.c)
FUZZ_SEEDS_SRC := $(wildcard fuzz/seeds_sim.c)
endif
# Target lua is built where there is a Lua to build it with.
LUA_FUZZ := $(shell $(if $(wildcard ffi/lua/weir.c),ffi/lua/find 5.4 5.3 5.2 5.1 | { read -r version package && echo "$$package"; }))
ifeq ($(LUA_FUZZ),)
FUZZ_TARGET_SRC := $(filter-out fuzz/target_lua.c,$(FUZZ_TARGET_SRC))
endif
FUZZ_SRC := $(FUZZ_TARGET_SRC) $(FUZZ_SEEDS_SRC) $(wildcard fuzz/main_$(FUZZ_MAIN).c)
FUZZ_OBJ := $(FUZZ_SRC:%.c=$(OBJ)/%.o)
FUZZ_BIN := $(FUZZ_TARGET_SRC:fuzz/target_%.c=$(BUILD)/fuzz/%)
FUZZ_SEEDS_BIN := $(FUZZ_SEEDS_SRC:fuzz/%.c=$(BUILD)/fuzz/%)
FUZZ_LUA_OBJ := $(patsubst %.c,$(OBJ)/%.o,$(filter-out %/runtime.c,$(if $(filter fuzz/target_lua.c,$(FUZZ_SRC)),$(wildcard ffi/lua/*.c))))
FUZZ_OBJ += $(FUZZ_LUA_OBJ)
ALL_OBJ += $(FUZZ_OBJ)

# ---- Targets
# SECONDS per target, JOBS at once, TARGETS of fuzz-all.
TARGET ?= relp
TARGETS ?=
JOBS ?= 1
RUN_FUZZ = MAKE='$(MAKE)' BUILD_ROOT='$(BUILD_ROOT)' JOBS='$(JOBS)' fuzz/run

fuzz: ## AFL++ on one target: TARGET=relp SECONDS=60 JOBS=1
	+@tests/install-tools afl
	+@$(RUN_FUZZ) fuzz '$(TARGET)' '$(or $(SECONDS),60)'

fuzz-all: ## AFL++ on every target, one after the other: SECONDS=60 JOBS=1 TARGETS="relp framing"
	+@tests/install-tools afl
	+@$(RUN_FUZZ) all '$(or $(SECONDS),60)' $(TARGETS)

fuzz-min: ## the fewest and shortest inputs that reach what the corpus does: TARGET=relp
	+@tests/install-tools afl
	+@$(RUN_FUZZ) min '$(TARGET)'

fuzz-coverage: ## lines and branches that the seeds and the corpora reach, per file
	+@$(RUN_FUZZ) coverage $(TARGETS)

fuzz-canary: ## plants the bugs of fuzz/canary/ and says how long each target takes to find its own
	+@tests/install-tools afl
	+@$(RUN_FUZZ) canary $(ARGS)

# ---- Rules
fuzz-programs: $(FUZZ_BIN) $(FUZZ_SEEDS_BIN)

$(FUZZ_OBJ): MODE_sim := -DWEIR_LIMITS_TINY
FUZZ_MAIN_OBJ := $(OBJ)/fuzz/main_$(FUZZ_MAIN).o
$(BUILD)/fuzz/args: $(OBJ)/writer/command_options.o
$(BUILD)/fuzz/lua: $(FUZZ_LUA_OBJ)
$(BUILD)/fuzz/lua: private LDLIBS += $(shell $(if $(LUA_FUZZ),pkg-config --libs $(LUA_FUZZ)))
$(OBJ)/fuzz/target_lua.o $(FUZZ_LUA_OBJ): private PROBED += $(call lua_flags,$(LUA_FUZZ))
$(filter-out %/sim,$(FUZZ_BIN)): $(BUILD)/fuzz/%: $(OBJ)/fuzz/target_%.o $(FUZZ_MAIN_OBJ) $(BUILD)/libweir.a
	@mkdir -p $(@D)
	$(call say,ld,$@)$(LINK) -o $@ $(filter %.o,$^) $(BUILD)/libweir.a $(LDLIBS)

$(filter %/sim,$(FUZZ_BIN)): $(OBJ)/fuzz/target_sim.o $(FUZZ_MAIN_OBJ) $(filter-out %/main.o,$(SCENARIO_OBJ)) $(SIM_LIBRARY)
	@mkdir -p $(@D)
	$(call say,ld,$@)$(LINK) -Wl,--build-id=sha1 -o $@ $^ $(LDLIBS)

$(BUILD)/fuzz/seeds: $(OBJ)/fuzz/seeds.o
	@mkdir -p $(@D)
	$(call say,ld,$@)$(LINK) -o $@ $^ $(LDLIBS)

$(BUILD)/fuzz/seeds_sim: $(OBJ)/fuzz/seeds_sim.o $(filter-out %/main.o,$(SCENARIO_OBJ)) $(SIM_LIBRARY)
	@mkdir -p $(@D)
	$(call say,ld,$@)$(LINK) -Wl,--build-id=sha1 -o $@ $^ $(LDLIBS)
