# make demo: the main job on real data.   make test: everything that must hold.
.PHONY: demo test

demo:
	cargo build --release -p walkforge -p walkforge-hrp
	rm -rf target/demo
	target/release/walkforge run examples/experiments/hrp.toml --out target/demo
	python3 tests/recompute.py target/demo examples/data/sp500_20_prices.csv 10.0 0

test:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace
	cargo build -p walkforge -p walkforge-hrp
	rm -rf target/recompute
	target/debug/walkforge run examples/experiments/hrp.toml --out target/recompute/now
	python3 tests/recompute.py target/recompute/now examples/data/sp500_20_prices.csv 10.0 0
	target/debug/walkforge run examples/experiments/hrp.toml --out target/recompute/later --set portfolio.execution_lag=1
	python3 tests/recompute.py target/recompute/later examples/data/sp500_20_prices.csv 10.0 1
	target/debug/walkforge run examples/experiments/hrp.toml --out target/recompute/gaps --set windows.step_months=18
	python3 tests/recompute.py target/recompute/gaps examples/data/sp500_20_prices.csv 10.0 0
	target/debug/walkforge run examples/experiments/hrp.toml --out target/recompute/steps --set windows.step_months=3
	python3 tests/recompute.py target/recompute/steps examples/data/sp500_20_prices.csv 10.0 0

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
