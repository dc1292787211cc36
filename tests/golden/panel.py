"""Writes the small Parquet files that tests/panel.rs reads, with pandas and pyarrow 26.

Usage: python3 tests/golden/panel.py    (needs: pip install pandas pyarrow)
"""

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

dates = pd.to_datetime(["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07"])
prices = pd.DataFrame({"B": [1.0, 2.0, np.nan, 4.0], "A": [10.0, 11.5, 12.25, 13.0]}, index=pd.Index(dates, name="date"))

# What pandas users have: a date index, which pandas writes as the last column, in nanoseconds.
prices.to_parquet("tests/golden/panel_pandas.parquet")
# A date column first, several row groups, zstd, and integers and single precision among the numbers.
table = pa.table(
    {
        "date": pa.array([d.date() for d in dates], pa.date32()),
        "B": pa.array([1, 2, None, 4], pa.int64()),
        "A": pa.array([10.0, 11.5, 12.25, 13.0], pa.float32()),
    }
)
pq.write_table(table, "tests/golden/panel_groups.parquet", row_group_size=3, compression="zstd")
# Dates as text.
text = pa.table({"date": [str(d.date()) for d in dates], "B": [1.0, 2.0, None, 4.0], "A": [10.0, 11.5, 12.25, 13.0]})
pq.write_table(text, "tests/golden/panel_text.parquet", compression="none")
# What is refused: no date column, a column of texts, a nested one.
pq.write_table(pa.table({"A": [1.0, 2.0]}), "tests/golden/panel_undated.parquet")
pq.write_table(
    pa.table({"date": pa.array([datetime.date(2020, 1, 2)]), "A": pa.array([True])}), "tests/golden/panel_flags.parquet"
)
pq.write_table(
    pa.table({"date": pa.array([datetime.date(2020, 1, 2)]), "A": pa.array([[1.0]])}), "tests/golden/panel_nested.parquet"
)

# The same panel with midnights of a zone: named by pandas, by the Arrow schema alone, by an offset, by nobody (naive
# timestamps of the close), and as UTC instants without a zone.
local = dates.tz_localize("Asia/Tokyo")
prices.set_axis(local.rename("date")).to_parquet("tests/golden/panel_zone.parquet")


def with_dates(values):
    return pa.table({"date": values, "B": [1.0, 2.0, None, 4.0], "A": [10.0, 11.5, 12.25, 13.0]})


def instants(hours, kind):
    ticks = [int((d - datetime.timedelta(hours=hours)).timestamp() * 1_000_000) for d in dates]
    return pa.array(ticks, pa.int64()).cast(kind)


pq.write_table(with_dates(instants(9, pa.timestamp("us", "Asia/Tokyo"))), "tests/golden/panel_zone_arrow.parquet")
pq.write_table(with_dates(instants(-5, pa.timestamp("us", "-05:00"))), "tests/golden/panel_offset.parquet")
pq.write_table(with_dates(instants(-16, pa.timestamp("us"))), "tests/golden/panel_closes.parquet")
pq.write_table(
    with_dates(instants(9, pa.timestamp("us", "UTC"))), "tests/golden/panel_instants.parquet", store_schema=False
)
# A filtered frame keeps its row numbers as an index.
prices.reset_index().set_axis([3, 5, 6, 9]).to_parquet("tests/golden/panel_filtered.parquet")
# Codecs and types.
for codec in ["gzip", "brotli", "lz4"]:
    pq.write_table(table, f"tests/golden/panel_{codec}.parquet", compression=codec)
pq.write_table(with_dates(pa.array(dates)), "tests/golden/panel_int96.parquet", use_deprecated_int96_timestamps=True)
days = table["date"]
half = pa.array(np.array([1, 2, np.nan, 4], np.float16), from_pandas=True)
cents = pa.array([10, 11.5, 12.25, 13]).cast(pa.decimal128(20, 4))
unsigned = pa.table({"date": days, "B": table["B"].cast(pa.uint32()), "A": cents})
pq.write_table(unsigned, "tests/golden/panel_unsigned.parquet")
pq.write_table(
    pa.table({"date": days, "B": half, "A": cents.cast(pa.decimal128(8, 2))}),
    "tests/golden/panel_half.parquet",
    store_decimal_as_integer=True,
)
pq.write_table(table.append_column("C", pa.nulls(4)), "tests/golden/panel_null.parquet")
