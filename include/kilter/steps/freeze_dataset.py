"""`freeze_dataset`: freeze a point-in-time training set under its digest."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from kilter.core.scope import Scope
from kilter.core.splits import split_by_time
from kilter.errors import DataError, UnavailableError
from kilter.labelled_rows import reach
from kilter.retraining import longest
from kilter.spec import ModelSpec, Task, UtcTime
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    import pandas as pd

    from kilter.core.origin import Origin

# Not memoised: the result follows from the features and labels that exist, not from `as_of` alone. As the
# snapshot has its rows and `as_of` for a name, the steps after it are memoised whenever neither changed.
STEP = StepInfo(
    stores=frozenset({"objects", "features", "ledger"}),
    reads=("entity", "timestamp", "label", "features", "training"),
    memoised=False,
)

_SHOWN = 5
"""Labels that an error names."""


def _parsed(given: Any) -> Any:
    """JSON text, as an Airflow template gives it."""
    found = json.loads(given) if isinstance(given, str) and given else given
    return found or {}


class Inputs(StepModel):
    as_of: Annotated[UtcTime | None, BeforeValidator(lambda value: value or None)] = None
    """Event time up to which the world is known: a label counts from `label.delay` after its own time.

    Null or empty: the end of the newest interval whose batch passed."""

    scope: Annotated[Scope, BeforeValidator(_parsed)] = Scope()
    """What to train on, also as JSON text; null or empty: everything."""

    retraining: str = ""
    """What began this retraining, such as `decision 7`; it is then kept in the ledger, of which one is open at most. Empty:
    nothing is kept."""


class Outputs(StepModel):
    snapshot: str
    digest: str
    rows: dict[str, int]
    """Rows of train, validation and test."""


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Commit `snapshots/<model>/<digest>` with train.parquet, validation.parquet and test.parquet.

    Columns are entity, event time, the features in the spec's order, the label and its timestamp. Rows are ordered by
    event time and entity. Labelled rows for which no feature was ever built are left out, and counted
    in the facts. The facts also name the origin of each interval that rows or their features came from.

    Raises:
        DataError: no labels, fewer than `training.minimum_rows`, a part of two classes that holds one only, or a train part
            whose labels are all one.
        InputError: no `as_of`, and no batch passed yet; or another retraining is under way.
        UnavailableError: the ledger does not answer, or an interval was built anew while it was read.
    """
    from kilter.stores.objects import commit_dataset
    from kilter.stores.parquet import frame_to_parquet

    spec = context.spec
    if inputs.retraining:
        context.ledger.begin_retraining(spec.name, inputs.retraining, longest(spec))
    as_of = inputs.as_of or reach(spec, context.ledger)
    rows, without, sources = _labelled_of_known_origin(context, as_of, inputs.scope)
    _refuse_few(rows, spec, as_of)
    parts = _parts(rows, spec)
    counts = {part: len(frame) for part, frame in parts.items()}
    facts = {
        "as_of": as_of.isoformat(),
        "scope": inputs.scope.model_dump(mode="json"),
        "rows": counts,
        "without_features": without,
        "origins": [origin.model_dump(mode="json") for origin in _of_rows(sources, rows, inputs.scope, spec)],
    }
    files = {f"{part}.parquet": frame_to_parquet(frame) for part, frame in parts.items()}
    manifest = commit_dataset(context.objects, f"snapshots/{spec.name}", files, facts)
    context.log.info("snapshot %s of %s: %s, %d labels without features", manifest.key, inputs.scope, counts, without)
    return Outputs(snapshot=manifest.key, digest=manifest.digest, rows=counts)


def _labelled_of_known_origin(
    context: StepContext, as_of: datetime, scope: Scope
) -> tuple[pd.DataFrame, int, list[Origin]]:
    """Rows, how many were left out, and the origins of what they may have been read from."""
    from kilter.stores.intervals import origins, records

    spec, name = context.spec, context.spec.name
    since = scope.start or _since(spec, as_of)
    earliest = since - spec.features.ttl if since else datetime.min.replace(tzinfo=UTC)
    before = records(context.objects, name, earliest, as_of)
    found = origins(context.objects, name, before, earliest, as_of)
    rows, without = _labelled(context, as_of, since)
    if records(context.objects, name, earliest, as_of) != before:
        raise UnavailableError(
            f"model '{name}': {name}.feature_ingestion built an interval anew while it was read: try again"
        )
    return rows[scope.holds(rows[spec.timestamp].tolist())].reset_index(drop=True), without, found


def _since(spec: ModelSpec, as_of: datetime) -> datetime | None:
    """Where `training.window` begins; None without one."""
    return as_of - spec.training.window if spec.training.window is not None else None


def _labelled(context: StepContext, as_of: datetime, since: datetime | None) -> tuple[pd.DataFrame, int]:
    """Rows known by `as_of`, of event times from `since` on."""
    from kilter.labelled_rows import labelled_rows

    spec = context.spec
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
        found = sorted(frame[spec.label.column].unique().tolist())
        if needed := _needed(part, found, spec.task):
            raise DataError(
                f"model '{spec.name}': the {part} part's {len(frame)} rows have the labels {found[:_SHOWN]} of "
                f"'{spec.label.column}', needed are {needed}: ingest a longer history"
            )
    return parts


def _needed(part: str, labels: list[Any], task: Task) -> str:
    """What a part lacks, in words; empty where it lacks nothing.

    Two classes are ranked against each other, so that each part has both. Of many classes, and of numbers, training needs
    two that differ, and each part can be measured whatever it holds.
    """
    if task == "binary":
        return "" if labels == [0, 1] else "0 and 1"
    if part != "train" or len(labels) > 1:
        return ""
    return "two classes or more" if task == "multiclass" else "numbers that differ"


def _of_rows(sources: list[Origin], rows: pd.DataFrame, scope: Scope, spec: ModelSpec) -> list[Origin]:
    """Of the origins, oldest first, those whose interval may hold a row or the features that a row was joined with."""
    first, last = rows[spec.timestamp].iloc[[0, -1]]
    spans = [(max(first, start), min(last, end)) for start, end in scope.spans] or [(first, last)]
    starts = [*(source.start for source in sources), datetime.max.replace(tzinfo=UTC)]
    ends = [source.end or following for source, following in zip(sources, starts[1:], strict=True)]
    return [
        source
        for source, end in zip(sources, ends, strict=True)
        if any(source.start <= until and end > since - spec.features.ttl for since, until in spans)
    ]
