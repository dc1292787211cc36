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
