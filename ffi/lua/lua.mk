# The Lua modules: ffi/lua.md says more. LUA_VERSIONS picks: 5.1 5.2 5.3 5.4 luajit.
.PHONY: lua lua-install lua-uninstall
lua: ## the Lua modules: LuaJIT's, and one for each Lua whose headers pkg-config finds: BUILD/lua/

lua-install: lua ## into DESTDIR/PREFIX: the Lua modules; LUA_VERSIONS="5.4 luajit"

lua-uninstall: ## removes what lua-install put there

# Each Lua's module holds the library, with all its symbols hidden, and stays loaded as that does.
# LuaJIT's FFI takes the shared library, which is found beside the module, or by the system's loader.
lua_flags = $(shell $(if $(1),pkg-config --cflags $(1) | sed 's/-I */-isystem /g'))
lua_package = $(shell ffi/lua/find $(1) | cut -d ' ' -f 2)
ifneq ($(filter lua lua-install lua-uninstall,$(MAKECMDGOALS)),)
LUA_VERSIONS ?= $(sort luajit $(shell ffi/lua/find | cut -d ' ' -f 1))
LUA_BUILT := $(filter-out luajit,$(LUA_VERSIONS)) $(if $(filter luajit,$(LUA_VERSIONS)),$(shell ffi/lua/find luajit | cut -d ' ' -f 1))
endif
LUA_SHARE := $(BUILD)/lua/share
LUA_FILES := $(patsubst %,$(LUA_SHARE)/%.lua,weir_ffi weir_cdef resty/logger/socket resty/logger/socket_options)
lua: $(LUA_BUILT:%=$(BUILD)/lua/%/weir.so) $(LUA_FILES) $(BUILD)/lua/luajit/libweir.so

$(BUILD)/lua/%/weir.so: $(wildcard ffi/lua/*.[ch]) $(BUILD)/libweir.a ffi/lua/find
	@mkdir -p $(@D)
	$(if $(call lua_package,$*),,@echo 'make: pkg-config finds no headers of Lua $*' >&2; exit 1)
	$(call say,cc,$@)$(COMPILE) $(call lua_flags,$(call lua_package,$*)) $(LINK_HARDENING) -shared -Wl,-z,nodelete \
	    -Wl,--exclude-libs,ALL -o $@ $(filter %.c,$^) $(BUILD)/libweir.a $(LDFLAGS) $(LDLIBS)

$(BUILD)/lua/luajit/libweir.so: $(BUILD)/libweir.so
	@mkdir -p $(@D) && ln -sf ../../libweir.so $@

$(LUA_SHARE)/weir_cdef.lua: ffi/lua/cut_header runtime/weir.h writer/weir_writer.h
	@mkdir -p $(@D)
	$(call say,cut,$@)CC='$(CC)' ffi/lua/cut_header libweir.so.$(SOVERSION) >$@

$(filter-out %/weir_cdef.lua,$(LUA_FILES)): $(LUA_SHARE)/%: ffi/lua/%
	@mkdir -p $(@D) && install -m 644 $< $@

# Where Lua looks by default, below PREFIX; INSTALL_LMOD and INSTALL_CMOD say otherwise for one version.
# What is written in Lua is for LuaJIT alone, and needs no headers.
lua_number = $(patsubst luajit,5.1,$(1))
lua_cmod = $(DESTDIR)$(or $(INSTALL_CMOD),$(PREFIX)/lib/lua/$(lua_number))
LUA_LMOD = $(DESTDIR)$(or $(INSTALL_LMOD),$(PREFIX)/share/lua/5.1)
define LUA_INSTALL
install -d '$(lua_cmod)'
install -m 755 $(BUILD)/lua/$(1)/weir.so '$(lua_cmod)/'

endef
lua-install:
	$(foreach version,$(LUA_BUILT),$(call LUA_INSTALL,$(version)))
ifneq ($(filter luajit,$(LUA_VERSIONS)),)
	CC='$(CC)' ffi/lua/cut_header '$(LIBDIR)/libweir.so.$(SOVERSION)' libweir.so.$(SOVERSION) >$(BUILD)/lua/installed.lua
	install -d '$(LUA_LMOD)/resty/logger'
	install -m 644 $(BUILD)/lua/installed.lua '$(LUA_LMOD)/weir_cdef.lua'
	install -m 644 $(LUA_SHARE)/weir_ffi.lua '$(LUA_LMOD)/'
	install -m 644 $(filter %/socket.lua %/socket_options.lua,$(LUA_FILES)) '$(LUA_LMOD)/resty/logger/'
endif

lua-uninstall:
	rm -f $(foreach version,$(LUA_VERSIONS),'$(call lua_cmod,$(version))/weir.so')
	rm -f $(LUA_FILES:$(LUA_SHARE)/%='$(LUA_LMOD)/%')
