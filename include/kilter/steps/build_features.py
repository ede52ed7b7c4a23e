"""`build_features`: compute one interval's features and labels from its batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kilter.errors import DataError, InputError
from kilter.keys import interval_key
from kilter.model_code import load_function
from kilter.spec import LABEL_KINDS, ModelSpec, UtcTime
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    import ibis
    import pyarrow as pa

# Not memoised: it writes at keys of the interval, which a memoised result would leave as they are.
STEP = StepInfo(
    stores=frozenset({"objects", "ledger"}),
    reads=("source", "features", "task", "label", "entity", "timestamp"),
    memoised=False,
)


class Inputs(StepModel):
    batch: str
    start: UtcTime
    end: UtcTime


class Outputs(StepModel):
    features: str
    labels: str
    digest: str
    """SHA-256 of the features object."""
    rows: int


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Write `features/<model>/<start>.parquet` and `labels/<model>/<start>.parquet`.

    Both hold the rows of `[start, end)` only, ordered by event time and entity; a re-run gives equal bytes.
    Labels go first, so that whoever sees the features finds the labels too.

    Raises:
        DataError: the batch was never committed or was altered.
        InputError: the batch did not pass `validate_batch` for this interval, the interval overlaps another one in
            the store, or features.py gives other columns than model.yaml lists, two rows for one entity and time, or
            a label that is none of the task's.
        UnavailableError: the ledger does not answer.
    """
    from kilter.stores.features import CREATED
    from kilter.stores.intervals import Record, check_interval, record_interval
    from kilter.stores.objects import sha256
    from kilter.stores.parquet import to_parquet

    spec = context.spec
    check_interval(context.objects, spec.name, inputs.start, inputs.end)
    _refuse_unless_passed(inputs, context)
    tables = _tables(inputs.batch, context)
    build = load_function(context.folder, "features.py", "build")
    labels = load_function(context.folder, "features.py", "labels")
    features = _compute(lambda: build(tables, spec.label.delay), _feature_columns(spec), inputs, spec, context.folder)
    outcomes = _compute(lambda: labels(tables), _label_columns(spec), inputs, spec, context.folder)
    _refuse_strange_labels(outcomes, spec, context.folder)
    keys = {kind: interval_key(kind, spec.name, inputs.start) for kind in ("labels", "features")}
    # A row holds only what was known at its event time, so from then on it may be used.
    data = to_parquet(features.add_column(2, CREATED, features[spec.timestamp]))
    known = to_parquet(outcomes)
    record = Record(batch=inputs.batch.rpartition("/")[2], features=sha256(data), labels=sha256(known))
    # The record goes first, so that no features ever lie in the store without it, and so that objects which a
    # broken run left as they were do not pass for those of this batch.
    record_interval(context.objects, spec.name, inputs.start, inputs.end, record)
    context.objects.put(keys["labels"], known)
    context.objects.put(keys["features"], data)
    context.log.info("%d rows of features, %d labels", features.num_rows, outcomes.num_rows)
    return Outputs(features=keys["features"], labels=keys["labels"], digest=record.features, rows=features.num_rows)


def _refuse_unless_passed(inputs: Inputs, context: StepContext) -> None:
    """A bad batch must never become features, not even by hand."""
    interval = (inputs.batch, inputs.start, inputs.end)
    rows = context.ledger.batches(context.spec.name, before=inputs.end)
    found = [row for row in rows if (row["key"], row["interval_start"], row["interval_end"]) == interval]
    if not found:
        raise InputError(
            f"batch {inputs.batch} was never validated for the interval from {inputs.start.isoformat()} to "
            f"{inputs.end.isoformat()}: run validate_batch with the same inputs first"
        )
    if found[-1]["verdict"] != "passed":
        raise InputError(
            f"batch {inputs.batch} {found[-1]['verdict']}: {found[-1]['reason']}: only a passed batch becomes features; "
            "repair the source and extract the interval again"
        )


def _tables(batch: str, context: StepContext) -> dict[str, ibis.Table]:
    import ibis

    from kilter.stores.objects import read_file, read_manifest
    from kilter.stores.parquet import from_parquet

    manifest = read_manifest(context.objects, batch)
    connection = ibis.duckdb.connect()
    connection.raw_sql("SET TimeZone = 'UTC'")
    found = {}
    for name in context.spec.source.tables:
        data = from_parquet(read_file(context.objects, manifest, f"{name}.parquet"), f"{batch}/{name}.parquet")
        connection.con.register(name, data)
        found[name] = connection.table(name)
    return found


def _feature_columns(spec: ModelSpec) -> dict[str, str]:
    kinds = {"numeric": "float64", "categorical": "string"}
    return {feature.name: kinds[feature.kind] for feature in spec.features.columns}


def _label_columns(spec: ModelSpec) -> dict[str, str]:
    return {spec.label.column: LABEL_KINDS[spec.task], spec.label.timestamp: "timestamp('UTC', 6)"}


def _compute(
    expression: Callable[[], ibis.Table], columns: dict[str, str], inputs: Inputs, spec: ModelSpec, folder: Path
) -> pa.Table:
    """Evaluate an expression of features.py in canonical columns, types and order."""
    import ibis

    try:
        table = expression()
        columns = {spec.entity: "string", spec.timestamp: "timestamp('UTC', 6)", **columns}
        if missing := [name for name in columns if name not in table.columns]:
            raise InputError(
                f"{folder / 'features.py'} gives no column {', '.join(missing)}; it gives {', '.join(table.columns)}: "
                "add it there or correct model.yaml"
            )
        time = table[spec.timestamp]
        inside = table.filter((time >= ibis.literal(inputs.start)) & (time < ibis.literal(inputs.end)))
        plain = inside.select(**{name: inside[name].cast(kind) for name, kind in columns.items()})
        result = plain.order_by(spec.timestamp, spec.entity).to_pyarrow()
    except ibis.IbisError as error:
        raise DataError(f"{folder / 'features.py'} does not fit the batch {inputs.batch}: {error}") from error
    _refuse_twice(result, spec, folder)
    return result


def _refuse_strange_labels(outcomes: pa.Table, spec: ModelSpec, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    labels = outcomes[spec.label.column]
    if spec.task == "regression":
        wanted, fine = "a finite number", pc.is_finite(labels)
    else:
        allowed = pa.array(spec.label.classes or [0, 1], labels.type)
        wanted, fine = f"one of {', '.join(map(str, allowed.to_pylist()))}", pc.is_in(labels, allowed)
    strange = outcomes.filter(pc.invert(pc.fill_null(fine, False)))
    if strange.num_rows:
        raise InputError(
            f"{folder / 'features.py'} gives {strange.num_rows} labels that are none, first "
            f"{strange[spec.label.column][0].as_py()!r} of {spec.entity} '{strange[spec.entity][0].as_py()}': a label of "
            f"'{spec.label.column}' is {wanted}: correct it, or leave out rows whose outcome is not known"
        )


def _refuse_twice(result: pa.Table, spec: ModelSpec, folder: Path) -> None:
    keys: Any = result.select([spec.entity, spec.timestamp])
    rows = keys.group_by([spec.entity, spec.timestamp]).aggregate([([], "count_all")])
    if rows.num_rows != result.num_rows:
        raise InputError(
            f"{folder / 'features.py'} gives {result.num_rows - rows.num_rows} rows more than there are pairs of "
            f"{spec.entity} and {spec.timestamp}: give one row for each"
        )
