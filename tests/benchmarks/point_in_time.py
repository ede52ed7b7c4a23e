"""The point-in-time join of training sets and batch scoring, beside Feast's own DuckDB store and DuckDB's bare `ASOF JOIN`.

    .venv/bin/python tests/benchmarks/point_in_time.py
    .venv/bin/python tests/benchmarks/point_in_time.py --parts memory --rows 50000000

Two parts, each by itself with `--parts`:

- `speed`: 50,000 entity rows with 1,000,000 feature rows of ten numbers, a tenth of which arrived late, in one process, in turns:
  Kilter's join and Feast's through Feast, and the bare join, which knows no late rows and no ttl, so that its answer is wrong.
- `memory`: each in a process of its own, the same entity rows with more and more feature rows: seconds, and how far the
  process grew.

Needs no service. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import feast
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from gate_alone import console
from rich.table import Table

from kilter.keys import interval_key
from kilter.spec import ModelSpec
from kilter.stores.feature_view import PROJECT, configuration, definitions
from kilter.stores.features import FeatureStore
from kilter.stores.objects import FileObjects

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 90
COLUMNS = [f"x{place}" for place in range(10)]
QUESTIONS = 50_000
BLOCK = 1_000_000

SPEC = ModelSpec.model_validate(
    {
        **{"name": "wide", "description": "Ten columns.", "owner": "benchmarks", "task": "binary"},
        **{"entity": "id", "timestamp": "at", "label": {"column": "y", "timestamp": "known_at", "delay": "1h"}},
        "schedule": {"cron": "0 0 * * *", "start": START.isoformat()},
        "source": {"kind": "files", "tables": {"rows": {"timestamp": "at", "path": "x"}}},
        "features": {"ttl": f"{DAYS}d", "online": "1d", "columns": [{"name": name} for name in COLUMNS]},
        "training": {"trainer": "xgboost"},
        "evaluation": {"metrics": ["roc_auc"], "block": "1h"},
        "gate": {"thresholds": {"roc_auc": 0.5}},
    }
)


def moments(random: np.random.Generator, count: int, first: float = 0, last: float = DAYS) -> np.ndarray:
    return random.integers(int(first * 86_400), int(last * 86_400), count) * 1_000_000


def as_time(microseconds: np.ndarray) -> pa.Array:
    return pa.array(
        np.datetime64(START.replace(tzinfo=None), "us") + microseconds.astype("m8[us]"), pa.timestamp("us", "UTC")
    )


def names(random: np.random.Generator, count: int, entities: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(
        random.integers(0, entities, count).astype(np.int32), pa.array([f"e{place:07}" for place in range(entities)])
    ).cast(pa.string())


def write_features(root: Path, rows: int, entities: int) -> Path:
    """One object, in the order of its event times, written in row groups of a million."""
    path = root / interval_key("features", SPEC.name, START)
    path.parent.mkdir(parents=True)
    random, writer = np.random.default_rng(1), None
    blocks = max(1, rows // BLOCK)
    for block in range(blocks):
        events = np.sort(moments(random, rows // blocks, DAYS * block / blocks, DAYS * (block + 1) / blocks))
        events += np.arange(len(events)) % 1_000_000  # no two at once, of which Feast takes any
        late = np.where(random.random(len(events)) < 0.1, moments(random, len(events), 0, 3), 0)
        columns = {"id": names(random, len(events), entities), "at": as_time(events), "created": as_time(events + late)}
        table = pa.table(columns | {name: random.normal(size=len(events)) for name in COLUMNS})
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    assert writer
    writer.close()
    return path


def questions(entities: int) -> pd.DataFrame:
    random = np.random.default_rng(2)
    asked = pa.table({"id": names(random, QUESTIONS, entities), "at": as_time(moments(random, QUESTIONS))})
    return asked.to_pandas().drop_duplicates(ignore_index=True)


def ours(root: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    store = FeatureStore(SPEC, FileObjects(root), f"sqlite:///{root}/registry.db", f"{root}/online.db")
    return store.historical


def feasts(root: Path, path: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    config = configuration({"path": f"{root}/feast.db"}, f"{root}/online.db")
    config.offline_config = "duckdb"
    store = feast.FeatureStore(config=config)
    entity, view = definitions(SPEC, str(path))
    store.registry.apply_entity(entity, PROJECT)
    store.registry.apply_feature_view(view, PROJECT)
    references = [f"{SPEC.name}:{name}" for name in COLUMNS]

    def join(asked: pd.DataFrame) -> pd.DataFrame:
        entities = asked.rename(columns={"at": "event_timestamp"})
        return store.get_historical_features(entities, references, filter_by_created_timestamp=True).to_df()

    return join


def bare(path: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def join(asked: pd.DataFrame) -> pd.DataFrame:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("asked", pa.Table.from_pandas(asked))
            found = f"SELECT asked.*, {', '.join(COLUMNS)} FROM asked ASOF LEFT JOIN read_parquet('{path}') AS rows"
            return connection.sql(f"{found} ON asked.id = rows.id AND asked.at >= rows.at").to_arrow_table().to_pandas()

    return join


def speed(rows: int, entities: int, repeats: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = write_features(root, rows, entities)
        asked = questions(entities)
        joins = {"kilter": ours(root), "feast": feasts(root, path), "bare": bare(path)}
        found = {name: join(asked) for name, join in joins.items()}  # what is imported on first use is imported now
        _refuse_other_answers(asked, found["kilter"], found["feast"])
        seconds: dict[str, list[float]] = {name: [] for name in joins}
        for _ in range(repeats):
            for name, join in joins.items():
                begun = time.perf_counter()
                join(asked)
                seconds[name].append(time.perf_counter() - begun)
    medians = {name: float(np.median(times)) for name, times in seconds.items()}
    return {
        **{"rows": rows, "entities": entities, "seconds": seconds, "medians": medians},
        "times_as_fast_as_feast": medians["feast"] / medians["kilter"],
        "times_the_bare_join": medians["kilter"] / medians["bare"],
    }


def _refuse_other_answers(asked: pd.DataFrame, kilter: pd.DataFrame, feast: pd.DataFrame) -> None:
    theirs = asked.merge(feast.rename(columns={"event_timestamp": "at"}))
    pd.testing.assert_frame_equal(kilter[COLUMNS], theirs[COLUMNS])


def memory(rows: list[int], entities: int) -> list[dict[str, Any]]:
    found = []
    for count in rows:
        with tempfile.TemporaryDirectory() as folder:
            write_features(Path(folder), count, entities)
            command = [sys.executable, __file__, "--join", folder, "--entities", str(entities)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found.append({"rows": count, **json.loads(answer.splitlines()[-1])})
    return found


def join_once(root: Path, entities: int) -> dict[str, float]:
    """In a process of its own: seconds, and MB that the process grew by, imports and questions aside."""
    join, asked = ours(root), questions(entities)
    join(asked.iloc[:100])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    found = join(asked)
    seconds = time.perf_counter() - begun
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"seconds": seconds, "peak_mb": before / 1024 + grown, "known": float(found[COLUMNS[0]].notna().mean())}


def show(found: dict[str, Any]) -> None:
    if "speed" in found:
        table = Table(
            title=f"{QUESTIONS:,} entity rows with {found['speed']['rows']:,} feature rows", title_justify="left"
        )
        for column in ("join", "seconds, median", "each"):
            table.add_column(column, justify="left" if column == "join" else "right")
        for name, seconds in found["speed"]["seconds"].items():
            each = ", ".join(f"{one:.2f}" for one in seconds)
            table.add_row(name, f"{found['speed']['medians'][name]:.2f}", each)
        console.print(table)
    if "memory" in found:
        table = Table(title="Kilter's join, by feature rows", title_justify="left")
        for column in ("feature rows", "seconds", "peak MB of the process"):
            table.add_column(column, justify="right")
        for one in found["memory"]:
            table.add_row(f"{one['rows']:,}", f"{one['seconds']:.1f}", f"{one['peak_mb']:.0f}")
        console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["speed", "memory"], choices=["speed", "memory"])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000, 50_000_000], help="for `memory`")
    parser.add_argument("--entities", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--join", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.join:
        print(json.dumps(join_once(given.join, given.entities)))
        return
    found: dict[str, Any] = {}
    if "speed" in given.parts:
        found["speed"] = speed(BLOCK, given.entities, given.repeats)
    if "memory" in given.parts:
        found["memory"] = memory(given.rows, given.entities)
    show(found)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
