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
