"""A small stream whose first column turns round half way."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROWS, WINDOWS = 480, 6


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    """480 rows: a number, a category, a label of two words and a time."""
    random = np.random.default_rng(7)
    number, kind = random.normal(size=ROWS), random.choice(["u", "v"], ROWS)
    turned = np.where(np.arange(ROWS) < ROWS // 2, number, -number)
    frame = pd.DataFrame(
        {
            "number": np.where(random.random(ROWS) < 0.05, np.nan, number),
            "kind": kind,
            "y": np.where(turned + (kind == "u") > 0.5, "good", "bad"),
            "t": pd.date_range("2013-01-01", periods=ROWS, freq="h"),
        }
    )
    frame.to_parquet(tmp_path / "stream.parquet")
    return tmp_path / "stream.parquet"
