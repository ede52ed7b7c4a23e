"""What looking features up costs: Kilter's server with four of sixteen features from Feast's online store.

    .venv/bin/python tests/benchmarks/look_ups.py [--python PATH/TO/bin/python]

The model, the cells and --python are those of serving.py. In one run are asked: Kilter with requests that leave four features out,
the same server with requests that carry all, and `mlflow models serve`, which looks nothing up. The online store is an
SQLite file of 10,000 entities; a request asks for the same ones each time. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table
from serving import CELLS, FEATURES, MODEL, Server, columns, console, kilter, measure, mlflows, running, train, wrk

from kilter.encoding import Matrix
from kilter.errors import KilterError
from kilter.keys import interval_key
from kilter.spec import load_spec
from kilter.stores.features import CREATED, FeatureStore
from kilter.stores.objects import FileObjects
from kilter.stores.parquet import frame_to_parquet

LEFT_OUT = 4
ENTITIES = 10_000
AT = datetime(2013, 1, 1, 12, tzinfo=UTC)
AIM = 10.0
"""Requests a second with look-ups, times those of `mlflow models serve` without, at least."""


class LookingUp(Server):
    """The same server, asked by requests that leave the first features out."""

    def body(self, rows: Matrix) -> str:
        document = json.loads(super().body(rows))["dataframe_split"]
        data = [[f"flight-{place}", AT.isoformat(), *row[LEFT_OUT:]] for place, row in enumerate(document["data"])]
        names = ["flight_id", "scheduled_departure", *document["columns"][LEFT_OUT:]]
        return json.dumps({"dataframe_split": {"columns": names, "data": data}})


def put_online(home: Path) -> None:
    """Every entity with random features."""
    spec, objects, start = load_spec(home / "models" / MODEL), FileObjects(home / "store"), AT.replace(hour=0)
    values = np.random.default_rng(0).normal(size=(ENTITIES, FEATURES))
    frame = pd.DataFrame(values, columns=columns()).assign(
        **{spec.entity: [f"flight-{place}" for place in range(ENTITIES)], spec.timestamp: AT, CREATED: AT}
    )
    objects.put(interval_key("features", MODEL, start), frame_to_parquet(frame))
    store = FeatureStore(spec, objects, f"sqlite:///{home}/state/registry.db", f"{home}/state/online_store.db")
    store.materialize(start, start + timedelta(days=1))


def show(found: dict[str, dict[str, Any]]) -> None:
    table = Table("cell", "server", "requests/s", "p50 ms", "p99 ms", "CPU µs a request")
    for cell in CELLS:
        for name, cells in found.items():
            answer = cells[cell]
            table.add_row(
                cell,
                name,
                f"{answer['rps']:,.0f}",
                *(f"{answer[fact]:.2f}" for fact in ("p50", "p99")),
                f"{answer['cpu']:,.0f}",
            )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="the interpreter that runs Kilter's server")
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement (8); a quarter more to warm up")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wrk()
    booster = train()
    # In SQLite Feast writes times as this process's clock shows them, and the server's clock is UTC.
    os.environ["TZ"] = "UTC"
    time.tzset()
    with tempfile.TemporaryDirectory(prefix="kilter-look-ups-") as folder, ExitStack() as stack:
        home = Path(folder)
        whole = kilter(home, booster, options.python, {"request": columns()[LEFT_OUT:], "timeout": "5s"})
        stack.enter_context(running(whole))
        put_online(home)
        theirs = stack.enter_context(running(mlflows(home, booster)))
        looking = LookingUp(**vars(replace(whole, name="kilter, 4 features looked up")))
        found = measure([looking, whole, theirs], options.seconds, home)
    show(found)
    ratios = {cell: found[looking.name][cell]["rps"] / found[theirs.name][cell]["rps"] for cell in CELLS}
    console.print(", ".join(f"{cell}: {ratio:.1f} times mlflow's" for cell, ratio in ratios.items()) + f"; aim {AIM:g}")
    print(json.dumps({"cores": os.cpu_count(), "load": os.getloadavg()[0], "servers": found, "times_better": ratios}))


if __name__ == "__main__":
    try:
        main()
    except KilterError as error:
        sys.exit(f"look_ups: {error}")
