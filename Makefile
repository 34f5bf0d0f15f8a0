# Words for people; `make` lists them. All set-up is scripts/setup.sh.
# One profile for everything: what is tested is what is installed, and it is built once.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
.PHONY: help build test faults faults-random mutants check demo demo-down install fmt golden
MAKEFLAGS += --no-print-directory

setup := scripts/setup.sh
cargo := $(setup) with cargo
target := $(or $(CARGO_TARGET_DIR),target)/release
mutants := $(or $(CARGO_TARGET_DIR),target)/mutants
PREFIX ?= /usr/local
share := $(DESTDIR)$(PREFIX)/share

help:
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | awk -F '|' '{ printf "  make %-13s %s\n", $$1, $$2 }'

build: ## the tools, into target/release
	@$(setup) build
	$(cargo) build --release --workspace --locked

test: ## every test, on real servers; does all set-up itself
	@$(setup) all
	$(cargo) build --release --workspace --locked
	# most of a test is waiting for servers: one more side by side than there are cores
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$(($$(nproc) + 1))} \
	  $(cargo) test --release --workspace --locked --no-fail-fast

mutants: ## each conjunct of the proof switched off: its own lying state must pass; writes docs/PROOFS.md
	@$(setup) all
	$(cargo) build --release --workspace --locked
	# in a folder of its own: what can look away is never what is tested or installed
	$(cargo) build --release --workspace --locked --features mutants --target-dir "$(mutants)"
	RS_MUTANTS=$$(realpath "$(mutants)/release") \
	  $(cargo) test --release --locked -p rs-tests -- --nocapture every_lying_state

# the results stay where the demo is; the sites, saved and brought back hundreds of times, are in memory where there is room
in_memory = export RS_FAULTS_KEPT=$$($(setup) place)/faults RS_DEMO_DIR=$$($(setup) memory)
faults: ## every step struck in every way: ONLY=23/a ONLY=23 ONLY=/rollback SEED= AGAIN=yes; goes on where it was; writes docs/FAULTS.md
	@$(in_memory)
	RS_ENGINES=none $(setup) all
	$(cargo) build --release --workspace --locked
	ONLY="$(ONLY)" SEED="$(SEED)" AGAIN="$(AGAIN)" RS_FAULTS=matrix \
	  $(cargo) test --release --locked -p rs-tests -- --nocapture every_fault_in_every_step

faults-random: ## whole upgrades with random kills: SEED= N=
	@$(in_memory)
	RS_ENGINES=none $(setup) all
	$(cargo) build --release --workspace --locked
	SEED="$(SEED)" N="$(N)" RS_FAULTS=random \
	  $(cargo) test --release --locked -p rs-tests -- --nocapture upgrades_that_are_killed_at_random

check: ## fmt, clippy, shellcheck, shfmt, and what each room may use
	@$(setup) check
	faults=0 # all of them are shown, not the first kind only
	scripts/check.sh || faults=1
	$(cargo) fmt --all --check || faults=1
	$(cargo) clippy --release --workspace --all-targets --locked -- -D warnings || faults=1
	exit $$faults

demo: ## the guide's site under load, and its upgrade, on this machine
	@RS_ENGINES=$(if $(filter newer,$(RS_DEMO_ENGINES)),required,none) $(setup) all
	$(cargo) build --release --workspace --locked
	$(setup) with scripts/demo/demo.sh run

demo-down: ## end the demo site and remove its state
	$(setup) with scripts/demo/demo.sh down

install: build ## tools, man pages, completions, scripts: PREFIX=/usr/local DESTDIR=
	@for tool in tools/rs-*/; do
	  tool=$$(basename "$$tool")
	  install -D -m 755 "$(target)/$$tool" "$(DESTDIR)$(PREFIX)/bin/$$tool"
	  page() { install -d "$${2%/*}" && "$(target)/$$tool" --generate $$1 >"$$2" && chmod 644 "$$2"; }
	  page man "$(share)/man/man1/$$tool.1"
	  while read -r verb; do
	    page "man $$verb" "$(share)/man/man1/$$tool-$${verb// /-}.1"
	  done < <("$(target)/$$tool" --generate verbs)
	  page bash "$(share)/bash-completion/completions/$$tool"
	  page zsh "$(share)/zsh/site-functions/_$$tool"
	  page fish "$(share)/fish/vendor_completions.d/$$tool.fish"
	done
	for file in $$(cd scripts && find . -type f ! -name setup.sh ! -name check.sh ! -path './demo/*'); do
	  mode=644
	  [[ ! -x scripts/$$file ]] || mode=755
	  install -D -m "$$mode" "scripts/$$file" "$(share)/rs-tools/scripts/$$file"
	done
	echo "installed below $(DESTDIR)$(PREFIX)"

fmt: ## format Rust and shell
	@$(setup) check
	$(cargo) fmt --all
	scripts/check.sh files | xargs shfmt -i 2 -w

golden: ## write the golden records anew; read the difference before you commit it
	@$(setup) all
	RS_GOLDEN=write $(cargo) test --release --locked -p rs-tests golden
