"""A window: the live rows of a stretch of event time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Window:
    """Live rows of `[start, end)`: all of them, or a random sample in its order, and what is known of all."""

    start: datetime
    end: datetime
    frame: pd.DataFrame
    """Features, event time, score, version, and the label where it is known."""
    rows: int
    labelled: int
    null_shares: dict[str, float]
    """Of each feature; empty without rows."""
    newest: datetime | None
    """Event time of the last row; None without rows."""
