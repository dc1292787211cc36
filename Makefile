# `make` prints the targets. PREFIX and DESTDIR say where `make install` puts things.
.DEFAULT_GOAL := help
.PHONY: help
help:
	@sed -n 's/^\([a-z-]*\):[^#=]*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-14s %s\n", $$1, $$2 }'

.PHONY: check features
check: ## formatting, lints and library tests: after each change
	cargo fmt --all --check
	cargo clippy --workspace --lib --bins -- -D warnings
	cargo test --quiet --package walkforge --lib

features: ## lints of the library without its optional features
	cargo clippy --package walkforge --no-default-features --lib -- -D warnings

.PHONY: demo test install tools bench miri sanitize-rust

TARGET := $(or $(CARGO_TARGET_DIR),target)
PREFIX ?= /usr/local
PRICES := examples/data/sp500_20_prices.csv
RUNS = $(TARGET)/recompute
# The C libraries by themselves, as cargo gives all that it builds at once the features of the others; then the command
# and the plugins, which are part of it.
BUILD = cargo build -p walkforge-capi $(1) && cargo build -p walkforge-cli -p walkforge-hrp -p walkforge-lstm $(1)

demo: ## the main job on real data, from a C++ engine, then recomputed in Python
	@$(call BUILD,--release)
	rm -rf $(TARGET)/demo
	mkdir -p $(TARGET)/demo
	# A program looks for the library under its soname, which cargo does not write.
	ln -sf libwalkforge.so $(TARGET)/release/$$(readelf -d $(TARGET)/release/libwalkforge.so | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
	$(CXX) -std=c++17 -O2 -Wall -Wextra -I include -I bindings/cpp/include bindings/cpp/examples/engine.cpp \
		-L $(TARGET)/release -lwalkforge -Wl,-rpath,'$$ORIGIN/../release' -o $(TARGET)/demo/engine
	$(TARGET)/demo/engine $(PRICES) $(TARGET)/release $(TARGET)/demo
	python3 tests/recompute.py $(TARGET)/demo/costs $(PRICES) 10.0 1

tools: ## what make test needs beside Rust, gcc, g++, make and Python 3
	sh tests/tools.sh

test: tools features ## everything that must hold; continuous integration runs this
	sh tests/tools_test.sh
	python3 tests/compare_runs_test.py
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace
	@$(call BUILD)
	cargo test --workspace -- --show-output
	for example in run embed plugin; do cargo run --quiet --example $$example || exit 1; done
	rm -rf $(RUNS)
	sh tests/reference_runs.sh $(TARGET)/debug $(RUNS)
	python3 tests/recompute.py $(RUNS)/now $(PRICES) 10.0 0
	python3 tests/recompute.py $(RUNS)/later $(PRICES) 10.0 1
	python3 tests/recompute.py $(RUNS)/gaps $(PRICES) 10.0 0
	python3 tests/recompute.py $(RUNS)/steps $(PRICES) 10.0 0
	python3 tests/recompute.py $(RUNS)/quarterly $(PRICES) 10.0 1
	python3 tests/recompute.py $(RUNS)/rows $(PRICES) 10.0 1
	python3 tests/recompute.py $(RUNS)/bounds $(PRICES) 10.0 0 $(RUNS)/now
	python3 tests/recompute.py $(RUNS)/holes $(RUNS)/holes.csv 10.0 0
	python3 tests/recompute.py $(RUNS)/closed $(RUNS)/closed.csv 10.0 0
	python3 tests/recompute.py $(RUNS)/terms $(RUNS)/ends.csv 10.0 1 --costs $(RUNS)/costs.csv --cash $(RUNS)/cash.csv --delisting=-0.55
	# A network: train scores and the overfitting monitor are recomputed too.
	python3 tests/recompute.py $(RUNS)/lstm $(RUNS)/holes.csv 10.0 1

install: ## library, headers, plugins, command, pkg-config and CMake files: PREFIX=/usr/local DESTDIR=
	@$(call BUILD,--release)
	DESTDIR=$(DESTDIR) sh bindings/cpp/install.sh $(TARGET)/release $(TARGET)/release/walkforge $(PREFIX)

# The programs are found by what cargo says of them; PEERS and TORCH are kept and used again.
PEERS := $(TARGET)/peers
TORCH := $(TARGET)/torch-env
BENCH = $$(cargo bench --bench $(1) --no-run --message-format=json 2>/dev/null | sed -n 's/.*"kind":\["bench"\].*"executable":"\([^"]*\)".*/\1/p')

bench: $(PEERS)/installed $(TORCH)/installed ## ours beside its peers, tables to benches/results (installs the peers below target/)
	cargo bench --no-run
	@$(call BUILD,--release)
	$(PEERS)/bin/python benches/hrp.py $(call BENCH,hrp)
	$(PEERS)/bin/python benches/walk_forward.py $(call BENCH,walk_forward)
	$(TORCH)/bin/python benches/lstm_step.py $(call BENCH,lstm_step)
	$(TORCH)/bin/python benches/lstm_predict.py $(call BENCH,lstm_predict)
	$(TORCH)/bin/python benches/lstm_study.py $(TARGET)/release/walkforge

.PHONY: parity memory
memory: ## growth of the process against the memory plan, ten networks on 1, 2 and 4 threads
	@$(call BUILD,--release)
	python3 tests/process_memory.py $(TARGET)/release/walkforge

parity: $(TORCH)/installed ## training beside PyTorch's from the same random numbers, over 26 shapes (installs PyTorch below target/)
	@$(call BUILD,--release)
	$(TORCH)/bin/python tests/parity.py $(TARGET)/release/walkforge

$(TORCH)/installed:
	python3 -m venv $(TORCH)
	$(TORCH)/bin/pip install --quiet torch numpy pandas onnx onnxruntime
	touch $@

$(PEERS)/installed:
	python3 -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet skfolio pyportfolioopt riskfolio-lib pandas scipy
	touch $@

# Stable Rust has neither. Where nightly or the component is missing these say so and fail; nothing is installed.
NIGHTLY = { rustup toolchain list | grep -q '^nightly' && test -e "$$(rustc +nightly --print sysroot)/$(1)"; } 2>/dev/null || \
	{ echo "this needs nightly Rust: rustup toolchain install nightly --component $(2)" >&2; exit 1; }

miri: ## the guard of the C ABI under Miri (nightly Rust)
	@$(call NIGHTLY,bin/cargo-miri,miri)
	cargo +nightly miri test -p walkforge-capi --lib guard

sanitize-rust: ## the library tests under ThreadSanitizer (nightly Rust)
	@$(call NIGHTLY,lib/rustlib/src/rust/library/Cargo.lock,rust-src)
	RUSTFLAGS=-Zsanitizer=thread cargo +nightly test -Zbuild-std --target $$(rustc -vV | sed -n 's/^host: //p') -p walkforge --lib
	RUSTFLAGS=-Zsanitizer=thread cargo +nightly test -Zbuild-std --target $$(rustc -vV | sed -n 's/^host: //p') -p walkforge-capi --lib guard

.PHONY: hostile fuzz coverage
hostile: ## a million damaged inputs; make test reads a share of them
	HOSTILE_INPUTS=1000000 cargo test -p walkforge-cli --test main -- --nocapture hostile::damaged_inputs

# Inputs that fail are kept in fuzz/artifacts.
FUZZ_SECONDS = 60
fuzz: ## a minute of each fuzz target (nightly Rust and cargo-fuzz)
	cargo check --manifest-path fuzz/Cargo.toml --target-dir target/fuzz
	@if ! cargo +nightly --version >/dev/null 2>&1; then \
	  echo "fuzz: the targets compile, but no nightly compiler is there to fuzz with: rustup toolchain install nightly"; \
	elif ! cargo fuzz --version >/dev/null 2>&1; then \
	  echo "fuzz: the targets compile, but cargo-fuzz is not there: cargo install cargo-fuzz"; \
	else for target in csv membership experiment parquet; do \
	  mkdir -p fuzz/corpus/$$target; \
	  case $$target in \
	    parquet) cp tests/golden/panel_*.parquet fuzz/corpus/$$target/;; \
	    experiment) cp examples/experiments/*.toml fuzz/corpus/$$target/;; \
	  esac; \
	  cargo +nightly fuzz run --target-dir target/fuzz $$target -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=4096 || exit 1; \
	done; fi

coverage: ## lines that the tests reach, by file and in all
	python3 tests/coverage.py

.PHONY: msrv deny headers goldens profile
# The minimum Rust that Cargo.toml states.
MSRV = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
msrv: ## everything but xtask, checked with the minimum Rust
	@rustup run $(MSRV) rustc --version 2>/dev/null || { echo "this needs Rust $(MSRV): rustup toolchain install $(MSRV) --profile minimal" >&2; exit 1; }
	cargo +$(MSRV) check --locked --target-dir $(TARGET)/msrv --workspace --exclude xtask

deny: ## licences, sources, versions and advisories of dependencies
	@cargo deny --version >/dev/null 2>&1 || { echo "this needs cargo-deny: cargo install cargo-deny --locked" >&2; exit 1; }
	cargo deny --locked --workspace check --hide-inclusion-graph licenses sources bans
	cargo deny --locked --workspace check advisories

headers: ## C headers and docs/settings.md, written from the Rust declarations
	cargo xtask headers
	cargo xtask settings

# Another kind of CPU changes train.json in the last bits; the other files come out the same to the byte.
GOLDEN := $(TARGET)/golden-env
goldens: $(GOLDEN)/installed ## golden files, made by the scripts beside them with pinned packages (below target/)
	for script in tests/golden/*.py; do echo $$script && $(GOLDEN)/bin/python $$script || exit 1; done
	git diff --stat -- tests/golden

$(GOLDEN)/installed: tests/golden/requirements.txt
	python3 -m venv $(GOLDEN)
	$(GOLDEN)/bin/pip install --quiet -r $<
	touch $@

# EXPERIMENT runs under perf, or a short form of it under valgrind where perf is missing or may not record.
EXPERIMENT = examples/experiments/lstm_quick.toml
# Symbols with type parameters, as one function of pulp is instantiated by every kernel.
profile: ## where an experiment spends its time, by function: EXPERIMENT=FILE
	@export RUSTFLAGS="-C symbol-mangling-version=v0"; $(call BUILD,--profile profiling)
	rm -rf $(TARGET)/profile
	mkdir -p $(TARGET)/profile
	if perf record --quiet -o $(TARGET)/profile/perf.data true 2>/dev/null; then \
	  perf record --quiet -o $(TARGET)/profile/perf.data $(TARGET)/profiling/walkforge run $(EXPERIMENT) --out $(TARGET)/profile/run && \
	  perf report --stdio --percent-limit 1 --sort dso,symbol -i $(TARGET)/profile/perf.data 2>/dev/null | sed '/^#/d; s/ *- *- *$$//' | c++filt; \
	else \
	  valgrind --quiet --tool=callgrind --callgrind-out-file=$(TARGET)/profile/callgrind.out $(TARGET)/profiling/walkforge run $(EXPERIMENT) \
	    --out $(TARGET)/profile/run --set windows.step_months=120 --set train.max_epochs=1 --set threads=1 && \
	  callgrind_annotate $(TARGET)/profile/callgrind.out | c++filt | head -n 60; \
	fi
