"""What named inputs cost: one call of an exported graph, beside the graph alone and what would be done without them.

    .venv/bin/python tests/benchmarks/exported_graph.py [--calls 2000]

200 trees of depth 6 on the features of `flight_delay`: 13 numbers and 2 categories. One thread, other rows in each call. The graph
alone is given the matrix that somebody has encoded: it is the limit. Ways take turns in one run. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import xgboost
from rich.console import Console
from rich.table import Table

from kilter.encoding import Matrix, Signature, encode
from kilter.export.graph import OUTPUT, to_columns, with_named_inputs
from kilter.serving import ubjson
from kilter.serving.predictors import tree_graph
from kilter.spec import load_spec

FLIGHTS = Path(__file__).parents[2] / "include/models/flight_delay"
COUNTS = (1, 12, 100)
ROWS = 4000
_APART = 97

Way = Callable[[Any], Any]


def rows(signature: Signature) -> Matrix:
    """Numbers of a normal distribution, every category as often, a twelfth missing."""
    random = np.random.default_rng(0)
    made = random.normal(size=(ROWS, len(signature.names))).astype(np.float32)
    for place, codes in signature.coded:
        made[:, place] = random.integers(0, len(codes), ROWS)
    made[random.random(made.shape) < 1 / 12] = np.nan
    return made


def train(signature: Signature, matrix: Matrix) -> xgboost.Booster:
    known = np.nan_to_num(matrix)
    label = known[:, 0] * known[:, 3] + known[:, 2] % 2 + np.random.default_rng(1).normal(size=ROWS) > 0.5
    data = xgboost.DMatrix(matrix, label=label, feature_types=signature.feature_types, enable_categorical=True)
    return xgboost.train({"objective": "binary:logistic", "max_depth": 6, "eta": 0.1, "nthread": 1}, data, 200)


def session(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def ways(booster: xgboost.Booster, signature: Signature) -> dict[str, tuple[str, Way]]:
    """What is measured: its name, what it is given (a matrix, columns of arrays or columns of lists), and the call."""
    data, _ = tree_graph(ubjson.read(bytes(booster.save_raw("ubj"))), signature)
    plain, named = session(data), session(with_named_inputs(data, signature, {}))
    return {
        "the graph alone, of a matrix": ("matrix", lambda given: plain.run(None, {"rows": given})),
        "named inputs, of arrays": ("arrays", lambda given: named.run([OUTPUT], given)),
        "Kilter's encode, then the graph": ("lists", lambda given: plain.run(None, {"rows": encode(given, signature)})),
        "XGBoost's inplace_predict, of a matrix": (
            "matrix",
            lambda given: booster.inplace_predict(given, missing=np.nan, validate_features=False),
        ),
    }


def given(matrix: Matrix, signature: Signature) -> dict[str, Any]:
    arrays = to_columns(matrix, signature)
    lists = {name: [None if value != value else value for value in column.tolist()] for name, column in arrays.items()}
    return {"matrix": matrix, "arrays": arrays, "lists": lists}


def measure(signature: Signature, calls: int) -> dict[str, dict[str, float]]:
    """Median microseconds of a call by way and by rows."""
    matrix = rows(signature)
    measured = ways(train(signature, matrix), signature)
    found: dict[str, dict[str, float]] = {name: {} for name in measured}
    for count in COUNTS:
        starts = np.random.default_rng(2).integers(0, ROWS - count, calls)
        batches = [given(matrix[start : start + count], signature) for start in starts.tolist()]
        times: dict[str, list[float]] = {name: [] for name in measured}
        for turn in range(calls):
            for place, (name, (kind, call)) in enumerate(measured.items()):
                # Never the rows of the way before it, whose path through the trees the processor has just learnt.
                batch = batches[(turn + place * _APART) % calls]
                begun = time.perf_counter()
                call(batch[kind])
                times[name].append(time.perf_counter() - begun)
        for name, seconds in times.items():
            found[name][str(count)] = float(np.median(seconds)) * 1e6
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000, help="of each way and number of rows (2000)")
    options = parser.parse_args()
    found = measure(Signature.of(load_spec(FLIGHTS)), options.calls)
    table = Table("median µs of a call", *(f"{count} rows" for count in COUNTS))
    for name, medians in found.items():
        table.add_row(name, *(f"{value:.0f}" for value in medians.values()))
    Console(width=110).print(table)
    print(json.dumps({"cores": os.cpu_count(), "load": os.getloadavg()[0], "microseconds": found}))


if __name__ == "__main__":
    main()
