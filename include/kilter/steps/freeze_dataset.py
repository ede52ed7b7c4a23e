"""`freeze_dataset`: freeze a point-in-time training set under its digest."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from kilter.core.splits import split_by_time
from kilter.errors import DataError
from kilter.labelled_rows import reach
from kilter.spec import ModelSpec, UtcTime
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    import pandas as pd

# Not memoised: the result follows from the features and labels that exist, not from `as_of` alone. As the
# snapshot has its rows and `as_of` for a name, the steps after it are memoised whenever neither changed.
STEP = StepInfo(
    stores=frozenset({"objects", "features", "ledger"}),
    reads=("entity", "timestamp", "label", "features", "training"),
    memoised=False,
)


class Inputs(StepModel):
    as_of: Annotated[UtcTime | None, BeforeValidator(lambda value: value or None)] = None
    """Event time up to which the world is known: a label counts from `label.delay` after its own time.

    Null or empty: the end of the newest interval whose batch passed."""


class Outputs(StepModel):
    snapshot: str
    digest: str
    rows: dict[str, int]
    """Rows of train, validation and test."""


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Commit `snapshots/<model>/<digest>` with train.parquet, validation.parquet and test.parquet.

    Columns are entity, event time, the features in the spec's order, the label and its timestamp. Rows are ordered by
    event time and entity. Labelled rows for which no feature was ever built are left out, and counted
    in the facts.

    Raises:
        DataError: no labels, fewer than `training.minimum_rows`, or a part that holds one class only.
        InputError: no `as_of`, and no batch passed yet.
        UnavailableError: the ledger does not answer.
    """
    from kilter.stores.objects import commit_dataset
    from kilter.stores.parquet import frame_to_parquet

    spec = context.spec
    as_of = inputs.as_of or reach(spec, context.ledger)
    rows, without = _labelled(context, as_of)
    _refuse_few(rows, spec, as_of)
    parts = _parts(rows, spec)
    counts = {part: len(frame) for part, frame in parts.items()}
    facts = {
        "as_of": as_of.isoformat(),
        "rows": counts,
        "without_features": without,
        "batches": _batches(rows, context),
    }
    files = {f"{part}.parquet": frame_to_parquet(frame) for part, frame in parts.items()}
    manifest = commit_dataset(context.objects, f"snapshots/{spec.name}", files, facts)
    context.log.info("snapshot %s: %s, %d labels without features", manifest.key, counts, without)
    return Outputs(snapshot=manifest.key, digest=manifest.digest, rows=counts)


def _labelled(context: StepContext, as_of: datetime) -> tuple[pd.DataFrame, int]:
    """Rows known by `as_of` and inside `training.window`."""
    from kilter.labelled_rows import labelled_rows

    spec = context.spec
    since = as_of - spec.training.window if spec.training.window is not None else None
    rows, without = labelled_rows(context, as_of, since)
    if rows.empty and not without:
        raise DataError(
            f"model '{spec.name}' has no labels known by {as_of.isoformat()} (label.delay {spec.label.delay}): "
            f"run {spec.name}.feature_ingestion for earlier intervals, or use a later as_of"
        )
    return rows, without


def _refuse_few(rows: pd.DataFrame, spec: ModelSpec, as_of: datetime) -> None:
    if len(rows) < spec.training.minimum_rows:
        raise DataError(
            f"model '{spec.name}' has {len(rows)} labelled rows with features as of {as_of.isoformat()}, "
            f"training.minimum_rows asks for {spec.training.minimum_rows}: ingest more intervals or use a later as_of"
        )


def _parts(rows: pd.DataFrame, spec: ModelSpec) -> dict[str, pd.DataFrame]:
    times = rows[spec.timestamp].tolist()
    cuts = split_by_time(times, spec.training.validation_share, spec.training.test_share)
    parts = {part: rows.iloc[cut] for part, cut in cuts.items()}
    for part, frame in parts.items():
        classes = sorted(frame[spec.label.column].unique().tolist())
        if classes != [0, 1]:
            raise DataError(
                f"model '{spec.name}': the {part} part's {len(frame)} rows have the classes {classes} of "
                f"'{spec.label.column}', needed are 0 and 1: ingest a longer history"
            )
    return parts


def _batches(rows: pd.DataFrame, context: StepContext) -> list[str]:
    """Digests of the passed batches whose intervals hold rows; of several for one interval, the newest."""
    first, last = rows[context.spec.timestamp].iloc[[0, -1]]
    recorded: dict[Any, str] = {
        row["interval_start"]: row["digest"]
        for row in context.ledger.batches(context.spec.name, verdict="passed")
        if row["interval_start"] <= last and row["interval_end"] > first
    }
    return sorted(recorded.values())
