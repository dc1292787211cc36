#!/bin/sh
# The reference runs: every run that `make test` recomputes in Python, and those of the demo where its engine is named.
# compare_runs.py holds the runs of two builds against each other, recompute.py each against its prices.
#
# Usage: sh tests/reference_runs.sh BUILD OUT [ENGINE]
# BUILD holds the command walkforge, the plugins and libwalkforge.so. OUT is made, and must not be there: the command
# leaves a run directory that is finished as it is, whatever library made it.
set -eu

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    echo "usage: sh tests/reference_runs.sh BUILD OUT [ENGINE]" >&2
    exit 2
fi
build=$(cd "$1" && pwd)
mkdir -p "$(dirname "$2")"
mkdir "$2"
out=$(cd "$2" && pwd)
engine=${3:+$(cd "$(dirname "$3")" && pwd)/$(basename "$3")}
cd "$(dirname "$0")/.."
prices=examples/data/sp500_20_prices.csv

run() {
    experiment=$1 name=$2
    shift 2
    # The files of BUILD and not the plugins inside the command: run.json has the digest of a file.
    WALKFORGE_PLUGIN_PATH=$build "$build/walkforge" run "examples/experiments/$experiment.toml" --out "$out/$name" "$@"
}

run hrp now
run hrp later --set portfolio.execution_lag=1
run hrp gaps --set windows.step_months=18
run hrp steps --set windows.step_months=3
# Windows that take over between two rebalances, some never, and a number of rows.
run hrp quarterly --set windows.test_months=1 --set windows.step_months=1 --set portfolio.rebalance=quarterly \
    --set portfolio.execution_lag=1 --set windows.start=2008-01-01
run hrp rows --set portfolio.rebalance=21 --set portfolio.execution_lag=1
run hrp bounds --set portfolio.max_weight=0.1
# Prices with gaps, a day here and there and some longer ones.
awk -F, -v OFS=, 'NR > 1 && NR % 97 < 3 { $5 = "" } NR > 1 && NR % 61 == 0 { $9 = "" } 1' $prices >"$out/holes.csv"
run hrp holes --set data.prices="$out/holes.csv"
# A closed exchange: one test span of a month has no date.
awk -F, 'NR == 1 || substr($1, 1, 7) != "2015-07"' $prices >"$out/closed.csv"
run hrp closed --set data.prices="$out/closed.csv" --set windows.test_months=1 --set windows.step_months=1 \
    --set windows.start=2010-01-01
# A series that ends, one that stops for two months and one that is halted at ends of months; costs by asset, cash that
# earns a rate by date, and a loss where a series ends.
awk -F, -v OFS=, 'NR > 1 && $1 > "2009-03-20" { $3 = "" } NR > 1 && $1 > "2011-05-10" && $1 < "2011-07-15" { $6 = "" }
    NR > 1 && $1 ~ /-(29|30|31)$/ { $8 = "" } 1' $prices >"$out/ends.csv"
head -1 $prices | tr -d '\r' | tr ',' '\n' | awk 'BEGIN { print "ticker,bps" } NR > 1 && NR % 3 { print $1 "," NR * 2 }' >"$out/costs.csv"
printf 'date,rate\n' >"$out/cash.csv"
awk -F, 'NR > 1 && substr($1, 1, 7) != month { month = substr($1, 1, 7); print $1 "," 0.01 + 0.0001 * (NR % 200) }' \
    $prices >>"$out/cash.csv"
run hrp terms --set data.prices="$out/ends.csv" --set portfolio.asset_costs="$out/costs.csv" \
    --set portfolio.cash_return="$out/cash.csv" --set data.delisting_return=-0.55 --set portfolio.execution_lag=1
run lstm_quick lstm --set train.max_epochs=2 --set windows.step_months=36 --set portfolio.execution_lag=1 \
    --set data.prices="$out/holes.csv"
if [ -n "$engine" ]; then
    # With the library of BUILD, wherever the engine was linked, under the name by which it looks for it.
    library=$(mktemp -d)
    trap 'rm -r "$library"' EXIT
    name=$(readelf -d "$engine" | sed -n 's/.*(NEEDED).*\[\(libwalkforge.*\)\]/\1/p')
    ln -s "$build/libwalkforge.so" "$library/$name"
    LD_LIBRARY_PATH=$library "$engine" $prices "$build" "$out/demo"
else
    echo "tests/reference_runs.sh: no engine is named, so the runs of the demo are left out"
fi
