"""Batch scoring beside bare `predict` on the same rows in memory: rows a second, and memory by the size of a partition.

    .venv/bin/python tests/benchmarks/batch_scoring.py
    .venv/bin/python tests/benchmarks/batch_scoring.py --rows 100000

One partition of 100,000, 1,000,000 and 10,000,000 rows in the order of their event times, 1,000,000 feature rows of 200,000 entities,
a model of 200 trees of depth 6 with 12 numbers and 4 categories. Each size runs as the real step in a process of its own, once;
then, in this process, the same booster predicts the matrix of as many rows at once: what scoring costs where features are
joined, encoded and in memory already, and nothing is written.

Needs no service. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from gate_alone import console
from rich.table import Table

from kilter.encoding import Signature
from kilter.keys import interval_key
from kilter.settings import Settings
from kilter.spec import load_spec
from kilter.step import RunInfo, run_step
from kilter.stores.models import load_model, save_model
from kilter.stores.objects import FileObjects
from kilter.trainers import Part, TrainingRun, trainer

START = datetime(2024, 1, 1, tzinfo=UTC)
NUMBERS = [f"x{place}" for place in range(12)]
CATEGORIES = [f"c{place}" for place in range(4)]
VALUES = ["red", "green", "blue", "black", "white"]
ENTITIES = 200_000
FEATURES = 1_000_000
DAYS = 30
BLOCK = 1_000_000

MODEL_YAML = f"""
name: wide
description: Twelve numbers and four categories.
owner: benchmarks
task: binary
entity: id
timestamp: at
label: {{column: y, timestamp: known_at, delay: 1h}}
schedule: {{cron: "0 0 * * *", start: 2024-01-01T00:00:00Z}}
source: {{kind: files, tables: {{rows: {{timestamp: at, path: x}}}}}}
features:
  ttl: 10d
  online: 1d
  columns:
{"".join(f"    - {{name: {name}}}{chr(10)}" for name in NUMBERS)}
{"".join(f"    - {{name: {name}, kind: categorical, categories: {json.dumps(VALUES)}}}{chr(10)}" for name in CATEGORIES)}
training: {{trainer: xgboost, rounds: 200, early_stopping: 200, parameters: {{max_depth: 6}}}}
evaluation: {{metrics: [roc_auc], block: 1h}}
gate: {{thresholds: {{roc_auc: 0.5}}}}
"""


def times(seconds: np.ndarray) -> pa.Array:
    return pa.array(
        np.datetime64(START.replace(tzinfo=None), "us") + (seconds * 1_000_000).astype("m8[us]"),
        pa.timestamp("us", "UTC"),
    )


def entities(random: np.random.Generator, count: int) -> pa.Array:
    known = pa.array([f"customer-{place:06}" for place in range(ENTITIES)])
    return known.take(pa.array(random.integers(0, ENTITIES, count)))


def write_features(objects: FileObjects) -> None:
    """One object; each entity has five rows on the average."""
    random = np.random.default_rng(1)
    events = times(np.sort(random.integers(0, DAYS * 86_400, FEATURES)))
    columns: dict[str, Any] = {"id": entities(random, FEATURES), "at": events, "created": events}
    columns |= {name: random.normal(size=FEATURES) for name in NUMBERS}
    columns |= {name: pa.array(VALUES).take(pa.array(random.integers(0, len(VALUES), FEATURES))) for name in CATEGORIES}
    path = objects.root / interval_key("features", "wide", START)
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table(columns), path, compression="zstd")


def write_partition(objects: FileObjects, rows: int) -> str:
    key = f"tables/{rows}.parquet"
    path = objects.root / key
    path.parent.mkdir(exist_ok=True)
    random, blocks = np.random.default_rng(rows), max(1, rows // BLOCK)
    schema = pa.schema([("id", pa.string()), ("at", pa.timestamp("us", "UTC"))])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for block in range(blocks):
            first, last = (DAYS * 86_400 * place // blocks for place in (block, block + 1))
            moments = np.sort(random.integers(first, last, rows // blocks))
            writer.write_table(pa.table([entities(random, len(moments)), times(moments)], schema=schema))
    return key


def write_model(home: Path, objects: FileObjects) -> str:
    folder = home / "models/wide"
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(MODEL_YAML)
    spec = load_spec(folder)
    rows = matrix(20_000, seed=0)
    labels = (rows[:, 0] + rows[:, 1] * rows[:, 2] + rows[:, -1] > 2).astype(np.float64)
    part, signature = Part(rows, labels), Signature.of(spec)
    trained = trainer("xgboost").train(part, part, TrainingRun(signature, spec.training, "log_loss"))
    return save_model(objects, "wide", trained, signature, {"trainer": "xgboost", "loss": "log_loss"}).key


def matrix(rows: int, seed: int) -> np.ndarray:
    """Encoded rows."""
    random = np.random.default_rng(seed)
    numbers = random.standard_normal((rows, len(NUMBERS)), dtype=np.float32)
    return np.hstack([numbers, random.integers(0, len(VALUES), (rows, len(CATEGORIES))).astype(np.float32)])


def step(home: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """In a process of its own: what the step gave, its seconds, and the MB that the process grew to."""
    settings = Settings.from_environment({"KILTER_HOME": str(home)})
    logging.basicConfig(level=logging.WARNING)
    log = logging.getLogger("benchmark")
    result = run_step("score_partition", home / "models/wide", inputs, RunInfo(), settings, log)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": result.seconds, "peak_mb": peak, **result.outputs}


def scored(home: Path, rows: int, partition: str, model: str) -> dict[str, Any]:
    inputs = {"table": "tables/*", "partition": partition, "version": 1, "model": model, "snapshot": "s", "again": True}
    command = [sys.executable, __file__, "--step", str(home), "--inputs", json.dumps(inputs)]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {"asked": rows, **json.loads(run.stdout.splitlines()[-1])}


def predicted(objects: FileObjects, model: str, rows: int) -> float:
    """Seconds of bare `predict`, the best of two."""
    predictor, encoded = load_model(objects, model).predictor, matrix(rows, seed=1)
    seconds = []
    for _ in range(2):
        begun = time.perf_counter()
        predictor.predict(encoded)
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def compare(sizes: list[int]) -> list[dict[str, Any]]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        objects = FileObjects(home / "store")
        write_features(objects)
        model = write_model(home, objects)
        for rows in sizes:
            one = scored(home, rows, write_partition(objects, rows), model)
            bare = predicted(objects, model, rows)
            found.append(one | {"predict_seconds": bare, "times_predict": one["seconds"] / bare})
    return found


def show(found: list[dict[str, Any]]) -> None:
    table = Table(title=f"One partition, on {os.cpu_count()} CPUs", title_justify="left")
    for column in (
        "rows",
        "step, s",
        "rows a second",
        "bare predict, s",
        "step / predict",
        "peak MB",
        "without features",
    ):
        table.add_column(column, justify="right")
    for one in found:
        table.add_row(
            f"{one['rows']:,}", f"{one['seconds']:.1f}", f"{one['rows'] / one['seconds']:,.0f}", f"{one['predict_seconds']:.2f}",
            f"{one['times_predict']:.1f}", f"{one['peak_mb']:.0f}", f"{one['without_features'] / one['rows']:.0%}",
        )  # fmt: skip
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--step", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--inputs", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(step(given.step, json.loads(given.inputs))))
        return
    found = compare(given.rows)
    show(found)
    print(json.dumps({"sizes": found}))


if __name__ == "__main__":
    main()
