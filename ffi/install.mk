# Installing, and the library as one file.
.PHONY: amalgamation install install-check uninstall
amalgamation: $(BUILD)/amalgamation/weir.c ## the library as one file: BUILD/amalgamation/weir.c, weir.h
	@cd $(BUILD)/amalgamation && wc -c weir.c weir.h

# Where everything goes. The simulator is built for this machine only.
TO_BIN = $(DESTDIR)$(PREFIX)/bin
TO_INCLUDE = $(DESTDIR)$(PREFIX)/include
TO_LIB = $(DESTDIR)$(LIBDIR)
TO_MAN = $(DESTDIR)$(MANDIR)
TO_SHARED = $(TO_LIB)/libweir.so
INSTALLS_SIM := $(if $(filter-out aarch64,$(VARIANT)),$(wildcard sim/main.c))
MAN_PAGES := $(wildcard ffi/man/*.1 ffi/man/*.3)
INSTALLS_PAGES := $(filter-out $(if $(INSTALLS_SIM),,%/weir-sim.1 %/weir_sim.3),$(MAN_PAGES))

install-check: export DESTDIR := $(DESTDIR)
install-check: export INSTALL_PREFIX := $(PREFIX)
install-check: export INSTALL_LIBDIR := $(LIBDIR)
install-check: export INSTALL_MANDIR := $(MANDIR)
install-check:
	@ffi/install-check "PREFIX=$$INSTALL_PREFIX" "LIBDIR=$$INSTALL_LIBDIR" "MANDIR=$$INSTALL_MANDIR"

install: install-check ## into DESTDIR/PREFIX: headers, libraries, pkg-config files, commands, man pages
	$(if $(SHARED),,@echo 'make: VARIANT=$(VARIANT) cannot be installed; release, clang, aarch64 can' >&2; exit 1)
	+@$(MAKE) --no-print-directory VARIANT=$(VARIANT) BUILD='$(BUILD)' all
	$(if $(INSTALLS_SIM),+@$(MAKE) --no-print-directory VARIANT=sim BUILD='$(BUILD_ROOT)/sim' simulator)
	install -d '$(TO_BIN)' '$(TO_INCLUDE)' '$(TO_LIB)/pkgconfig' '$(TO_MAN)/man1' '$(TO_MAN)/man3'
	install -m 755 $(COMMAND_BIN) '$(TO_BIN)/'
	install -m 644 runtime/weir.h writer/weir_writer.h '$(TO_INCLUDE)/'
	install -m 644 runtime/os.h '$(TO_INCLUDE)/weir_os.h'
	install -m 644 $(BUILD)/libweir.a '$(TO_LIB)/'
	install -m 755 $(BUILD)/libweir.so '$(TO_SHARED).$(VERSION)'
	ln -sf libweir.so.$(VERSION) '$(TO_SHARED).$(SOVERSION)'
	ln -sf libweir.so.$(SOVERSION) '$(TO_SHARED)'
	@printf '%s\n' "$$PKG_CONFIG_TEXT" | install -m 644 /dev/stdin '$(TO_LIB)/pkgconfig/weir.pc'
	install -m 644 $(filter %.1,$(INSTALLS_PAGES)) '$(TO_MAN)/man1/'
	install -m 644 $(filter %.3,$(INSTALLS_PAGES)) '$(TO_MAN)/man3/'
ifneq ($(INSTALLS_SIM),)
	install -m 755 $(BUILD_ROOT)/sim/weir-sim '$(TO_BIN)/'
	install -m 644 sim/weir_sim.h '$(TO_INCLUDE)/'
	install -m 644 $(BUILD_ROOT)/sim/public/libweir-sim.a '$(TO_LIB)/'
	@printf '%s\n' "$$SIM_PKG_CONFIG_TEXT" | install -m 644 /dev/stdin '$(TO_LIB)/pkgconfig/weir-sim.pc'
endif

uninstall: install-check ## removes the files that install put there
	rm -f '$(TO_BIN)/weir' '$(TO_BIN)/weir-sim'
	rm -f '$(TO_INCLUDE)/weir.h' '$(TO_INCLUDE)/weir_os.h' '$(TO_INCLUDE)/weir_writer.h' '$(TO_INCLUDE)/weir_sim.h'
	rm -f '$(TO_LIB)/libweir.a' '$(TO_LIB)/libweir-sim.a'
	rm -f '$(TO_SHARED)' '$(TO_SHARED).$(SOVERSION)' '$(TO_SHARED).$(VERSION)'
	rm -f '$(TO_LIB)/pkgconfig/weir.pc' '$(TO_LIB)/pkgconfig/weir-sim.pc'
	rm -f $(foreach page,$(notdir $(MAN_PAGES)),'$(TO_MAN)/man$(subst .,,$(suffix $(page)))/$(page)')

# What is installed shows its public symbols only, so that a host's own cannot clash with the rest.
$(BUILD)/public/libweir-sim.a: $(SIM_LIBRARY_OBJ) $(BUILD)/sources.stamp
	@mkdir -p $(@D)
	$(call say,ar,$@)rm -f $@ $(@D)/weir-sim.o; $(LD) -r -o $(@D)/weir-sim.o $(SIM_LIBRARY_OBJ) && \
	    $(OBJCOPY) --localize-hidden $(@D)/weir-sim.o && $(AR) rcs $@ $(@D)/weir-sim.o

$(BUILD)/amalgamation/weir.c: ffi/amalgamate LICENSE $(LIBRARY_SRC) $(wildcard runtime/*.h writer/*.h) $(BUILD)/sources.stamp
	$(call say,cat,$@)ffi/amalgamate $(@D) $(VERSION) $(LIBRARY_SRC)

# What pkg-config tells a host's build: LIBDIR below PREFIX follows it, blanks have a backslash.
empty :=
pc_escape = $(subst $(empty) $(empty),\ ,$(1))
define PKG_CONFIG_FOLDERS
prefix=$(call pc_escape,$(PREFIX))
libdir=$(call pc_escape,$(subst =,,$(subst =$(PREFIX)/,$${prefix}/,=$(LIBDIR))))
includedir=$${prefix}/include

endef
define PKG_CONFIG_TEXT
$(PKG_CONFIG_FOLDERS)
Name: weir
Description: log stream writer that never blocks the host and says what was delivered
Version: $(VERSION)
Cflags: -I$${includedir}
Libs: -L$${libdir} -lweir
Libs.private: -pthread
endef
define SIM_PKG_CONFIG_TEXT
$(PKG_CONFIG_FOLDERS)
Name: weir-sim
Description: deterministic simulator for C11 threads, futures and sockets; link without -fsanitize
Version: $(VERSION)
Cflags: -I$${includedir} $(SIM_FLAGS)
Libs: -L$${libdir} -lweir-sim -pthread
endef
install: export PKG_CONFIG_TEXT := $(PKG_CONFIG_TEXT)
install: export SIM_PKG_CONFIG_TEXT := $(SIM_PKG_CONFIG_TEXT)
