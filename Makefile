# make demo       the main job on real data, from a C++ engine
# make test       everything that must hold
# make install    library, headers, plugins, command, pkg-config and CMake files: PREFIX=/usr/local DESTDIR=
# make tools      what make test needs beside Rust, gcc, g++, make and Python 3 (make test calls it)
# make bench      ours beside its peers, tables to benches/results (installs the peers from PyPI below target/)
# make miri, make sanitize-rust    the Rust side under Miri and ThreadSanitizer; both need nightly Rust
.PHONY: demo test install tools bench miri sanitize-rust

TARGET := $(or $(CARGO_TARGET_DIR),target)
PREFIX ?= /usr/local
PRICES := examples/data/sp500_20_prices.csv
# The library, the command and every plugin.
BUILD := cargo build --workspace --exclude xtask

demo:
	$(BUILD) --release
	rm -rf $(TARGET)/demo
	mkdir -p $(TARGET)/demo
	# A program looks for the library under its soname, which cargo does not write.
	ln -sf libwalkforge.so $(TARGET)/release/$$(readelf -d $(TARGET)/release/libwalkforge.so | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
	$(CXX) -std=c++17 -O2 -Wall -Wextra -I include -I bindings/cpp/include bindings/cpp/examples/engine.cpp \
		-L $(TARGET)/release -lwalkforge -Wl,-rpath,'$$ORIGIN/../release' -o $(TARGET)/demo/engine
	$(TARGET)/demo/engine $(PRICES) $(TARGET)/release $(TARGET)/demo
	python3 tests/recompute.py $(TARGET)/demo/costs $(PRICES) 10.0 1

tools:
	sh tests/tools.sh

test: tools
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace
	cargo test --workspace -- --show-output
	$(BUILD)
	rm -rf $(TARGET)/recompute
	$(TARGET)/debug/walkforge run examples/experiments/hrp.toml --out $(TARGET)/recompute/now
	python3 tests/recompute.py $(TARGET)/recompute/now $(PRICES) 10.0 0
	$(TARGET)/debug/walkforge run examples/experiments/hrp.toml --out $(TARGET)/recompute/later --set portfolio.execution_lag=1
	python3 tests/recompute.py $(TARGET)/recompute/later $(PRICES) 10.0 1
	$(TARGET)/debug/walkforge run examples/experiments/hrp.toml --out $(TARGET)/recompute/gaps --set windows.step_months=18
	python3 tests/recompute.py $(TARGET)/recompute/gaps $(PRICES) 10.0 0
	$(TARGET)/debug/walkforge run examples/experiments/hrp.toml --out $(TARGET)/recompute/steps --set windows.step_months=3
	python3 tests/recompute.py $(TARGET)/recompute/steps $(PRICES) 10.0 0
	$(TARGET)/debug/walkforge run examples/experiments/hrp.toml --out $(TARGET)/recompute/bounds --set portfolio.max_weight=0.1
	python3 tests/recompute.py $(TARGET)/recompute/bounds $(PRICES) 10.0 0 $(TARGET)/recompute/now
	# Prices with gaps, a day here and there and some longer ones.
	awk -F, -v OFS=, 'NR > 1 && NR % 97 < 3 { $$5 = "" } NR > 1 && NR % 61 == 0 { $$9 = "" } 1' $(PRICES) > $(TARGET)/recompute/holes.csv
	$(TARGET)/debug/walkforge run examples/experiments/hrp.toml --out $(TARGET)/recompute/holes --set data.prices=$(abspath $(TARGET))/recompute/holes.csv
	python3 tests/recompute.py $(TARGET)/recompute/holes $(TARGET)/recompute/holes.csv 10.0 0
	# A network: train scores and the overfitting monitor are recomputed too.
	$(TARGET)/debug/walkforge run examples/experiments/lstm_quick.toml --out $(TARGET)/recompute/lstm --set train.max_epochs=2 \
		--set windows.step_months=36 --set portfolio.execution_lag=1 --set data.prices=$(abspath $(TARGET))/recompute/holes.csv
	python3 tests/recompute.py $(TARGET)/recompute/lstm $(TARGET)/recompute/holes.csv 10.0 1

install:
	$(BUILD) --release
	DESTDIR=$(DESTDIR) sh bindings/cpp/install.sh $(TARGET)/release $(TARGET)/release/walkforge $(PREFIX)

# The programs are found by what cargo says of them; PEERS and TORCH are kept and used again.
PEERS := $(TARGET)/peers
TORCH := $(TARGET)/torch-env
BENCH = $$(cargo bench --bench $(1) --no-run --message-format=json 2>/dev/null | sed -n 's/.*"kind":\["bench"\].*"executable":"\([^"]*\)".*/\1/p')

bench: $(PEERS)/installed $(TORCH)/installed
	cargo bench --no-run
	$(BUILD) --release
	$(PEERS)/bin/python benches/hrp.py $(call BENCH,hrp)
	$(PEERS)/bin/python benches/walk_forward.py $(call BENCH,walk_forward)
	$(TORCH)/bin/python benches/lstm_step.py $(call BENCH,lstm_step)
	$(TORCH)/bin/python benches/lstm_predict.py $(call BENCH,lstm_predict)
	$(TORCH)/bin/python benches/lstm_study.py $(TARGET)/release/walkforge

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

miri:
	@$(call NIGHTLY,bin/cargo-miri,miri)
	cargo +nightly miri test -p walkforge --lib capi::guard

sanitize-rust:
	@$(call NIGHTLY,lib/rustlib/src/rust/library/Cargo.lock,rust-src)
	RUSTFLAGS=-Zsanitizer=thread cargo +nightly test -Zbuild-std --target $$(rustc -vV | sed -n 's/^host: //p') -p walkforge --lib

# A million damaged inputs; prints how many of each kind were read and refused. `make test` reads a share of them.
.PHONY: hostile fuzz coverage
hostile:
	HOSTILE_INPUTS=1000000 cargo test -p walkforge --test hostile -- --nocapture damaged_inputs

# A minute of each fuzz target. Inputs that fail are kept in fuzz/artifacts.
FUZZ_SECONDS = 60
fuzz:
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

# Lines that the tests reach, by file and in all.
coverage:
	python3 tests/coverage.py
