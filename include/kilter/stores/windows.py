"""Windows in the object store: all rows, and a bounded sample of them with the facts of the whole.

Whoever joined the rows has had each of them at hand; whoever judges the window reads the sample, so that ten million rows
cost what a hundred thousand do.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from kilter.core.drift.window import Window
from kilter.stores.objects import Manifest, ObjectStore, commit_dataset, read_file, read_manifest
from kilter.stores.parquet import from_parquet, to_parquet

if TYPE_CHECKING:
    import pyarrow as pa

    from kilter.spec import ModelSpec

WINDOW = "window.parquet"
SAMPLE = "sample.parquet"

SAMPLE_ROWS = 100_000
"""The standard error of a share is then 0.0016 or less, and that of a ROC AUC about as much."""


def commit_window(
    objects: ObjectStore, spec: ModelSpec, table: pa.Table, start: datetime, end: datetime, seed: int
) -> Manifest:
    """Commit `windows/<model>/<digest>` with window.parquet and, beyond `SAMPLE_ROWS` rows, sample.parquet.

    The sample is uniform, without replacement, by numpy's PCG64 under `seed`, which the facts state.
    """
    files = {WINDOW: to_parquet(table)}
    facts = {"start": start.isoformat(), "end": end.isoformat(), **_facts(table, spec)}
    if table.num_rows > SAMPLE_ROWS:
        files[SAMPLE] = to_parquet(_sample(table, seed))
        facts["sample"] = {"rows": SAMPLE_ROWS, "seed": seed}
    return commit_dataset(objects, f"windows/{spec.name}", files, facts)


def read_window(objects: ObjectStore, spec: ModelSpec, key: str) -> Window:
    """Read a window's sample, or all of it where it is small.

    Raises:
        DataError: the window was never committed, or it was altered.
    """
    manifest = read_manifest(objects, key)
    file = SAMPLE if SAMPLE in manifest.files else WINDOW
    table = from_parquet(read_file(objects, manifest, file), f"{key}/{file}")
    facts = manifest.facts if file == SAMPLE else _facts(table, spec)
    rows = facts["rows"]
    return Window(
        start=datetime.fromisoformat(manifest.facts["start"]),
        end=datetime.fromisoformat(manifest.facts["end"]),
        frame=table.to_pandas(),
        rows=rows,
        labelled=facts["labelled"],
        null_shares={name: count / rows for name, count in facts["nulls"].items()} if rows else {},
        newest=datetime.fromisoformat(facts["newest"]) if facts["newest"] else None,
    )


def _facts(table: pa.Table, spec: ModelSpec) -> dict[str, Any]:
    """Counted over all rows. A NaN is missing, too."""
    import pyarrow.compute as pc

    newest = pc.max(table[spec.timestamp]).as_py() if table.num_rows else None
    return {
        "rows": table.num_rows,
        "labelled": table.num_rows - table[spec.label.column].null_count,
        "nulls": {name: pc.sum(pc.is_null(table[name], nan_is_null=True)).as_py() or 0 for name in spec.features.names},
        "newest": newest and newest.isoformat(),
    }


def _sample(table: pa.Table, seed: int) -> pa.Table:
    import numpy as np

    return table.take(np.sort(np.random.default_rng(seed).choice(table.num_rows, SAMPLE_ROWS, replace=False)))
