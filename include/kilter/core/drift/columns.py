"""How far columns are from their reference, and what share of them has moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from kilter.core.verdict import Judgement, Verdict
from kilter.spec import Drift


class ColumnDrift(BaseModel):
    """Distance of one column from its reference, by the method and threshold that measured it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    value: float
    threshold: float
    drifted: bool


class Comparison(BaseModel):
    """Columns of a window beside their reference."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: Mapping[str, ColumnDrift] = {}
    unmeasured: tuple[str, ...] = ()
    """Columns that have values, and yet no finite distance."""


def unknown(name: str, found: Comparison, rows: int, drift: Drift) -> Judgement | None:
    """What to say where nothing can be told of the columns; None where it can.

    Fewer rows than `drift.minimum_rows`, or no column that can be compared, is inconclusive; a distance that is no number
    is an error.
    """
    figures = figures_of(found, rows)
    if rows < drift.minimum_rows:
        reason = f"{rows} rows < {drift.minimum_rows} needed to tell drift"
        return Judgement(name=name, verdict=Verdict.INCONCLUSIVE, reason=reason, figures=figures)
    if found.unmeasured:
        reason = f"no finite distance from the reference for: {', '.join(found.unmeasured)}"
        return Judgement(name=name, verdict=Verdict.ERROR, reason=reason, figures=figures)
    if not found.columns:
        reason = "no column could be compared with its reference"
        return Judgement(name=name, verdict=Verdict.INCONCLUSIVE, reason=reason, figures=figures)
    return None


def figures_of(found: Comparison, rows: int) -> dict[str, object]:
    """For the judgement's `figures`."""
    return {"rows": rows, "columns": {name: item.model_dump() for name, item in found.columns.items()}}


def moved(found: Comparison) -> Sequence[str]:
    """The columns that drifted, sorted."""
    return sorted(name for name, item in found.columns.items() if item.drifted)
