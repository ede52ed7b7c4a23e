"""What was known of a part when it was moulded: Ibis expressions, tables in, table out.

All of it was read by sensors until that moment. No outcome enters.
"""

from __future__ import annotations

from datetime import timedelta

import ibis
from ibis import Table

TREND = timedelta(hours=2)


def build(tables: dict[str, Table], label_delay: timedelta) -> Table:
    """One row of features for each part: its readings, and the mean vibration of its line over TREND, its own included.

    A reading is null where its sensor failed, the mean where all of its readings did.
    """
    parts = tables["parts"]
    recent = ibis.range_window(group_by="line", order_by=parts.moulded_at, preceding=ibis.literal(TREND), following=0)
    known = parts.drop("inspected_at", "quality")
    return known.mutate(vibration_trend=parts.vibration.mean().over(recent))


def labels(tables: dict[str, Table]) -> Table:
    """The parts that were inspected: what they were, and when that became known."""
    parts = tables["parts"]
    return parts.filter(parts.quality.notnull()).select("part_id", "moulded_at", "quality", "inspected_at")
