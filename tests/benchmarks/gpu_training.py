"""How long both trainers train on the CPU and on a GPU, by number of rows: `python tests/benchmarks/gpu_training.py`.

The same synthetic rows (14 numbers, 2 categories of 50) and the same rounds for both devices, in one run; each time is that of `train`
alone, with what the step measures around it. Without a GPU, or with libraries built without CUDA, the GPU's columns say
untried. Ends with one line of JSON. Options: `--rows`, `--rounds` (XGBoost), `--epochs` (torch).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from typing import get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from kilter.devices import DeviceUse, Kind, built_for_cuda, measured, visible_gpus
from kilter.encoding import Signature
from kilter.spec import Feature, Training
from kilter.trainers import Part, TrainingRun, trainer

NUMBERS, CATEGORIES = 14, 50
TRAINERS: tuple[str, ...] = get_args(Training.model_fields["trainer"].annotation)
SIGNATURE = Signature(
    entity="id",
    timestamp="at",
    features=(
        *(Feature(name=f"number_{index}") for index in range(NUMBERS)),
        *(
            Feature(name=name, kind="categorical", categories=tuple(f"{name}_{index}" for index in range(CATEGORIES)))
            for name in ("origin", "carrier")
        ),
    ),
)


def rows_of(count: int, seed: int) -> Part:
    """Rows whose label follows from half of the numbers and both categories, with noise; one number in 20 is missing."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(count, NUMBERS)).astype(np.float32)
    categories = random.integers(CATEGORIES, size=(count, 2))
    effects = np.random.default_rng(1).normal(size=(2, CATEGORIES))
    risk = numbers[:, : NUMBERS // 2].sum(axis=1) / 2 + effects[0, categories[:, 0]] + effects[1, categories[:, 1]]
    labels = (risk + random.logistic(size=count) > 0).astype(np.float64)
    numbers[random.random(numbers.shape) < 0.05] = np.nan
    return Part(np.hstack([numbers, categories]).astype(np.float32), labels)


def trained(name: str, kind: Kind, train: Part, validation: Part, rounds: int) -> DeviceUse:
    """What a training of exactly so many rounds takes."""
    quiet = logging.getLogger("quiet")
    quiet.setLevel(logging.WARNING)
    training = Training.model_validate({"trainer": name, "rounds": rounds, "early_stopping": rounds})
    run = TrainingRun(SIGNATURE, training, "log_loss", kind, quiet)
    _, use = measured(kind, lambda: trainer(name).train(train, validation, run))
    return use


def kinds_of(name: str) -> tuple[Kind, ...]:
    """The devices that a trainer can use here, each used once, as the first use also loads libraries."""
    kinds: tuple[Kind, ...] = ("cpu", "cuda") if visible_gpus() and built_for_cuda(name) else ("cpu",)
    for kind in kinds:
        trained(name, kind, rows_of(1_000, 0), rows_of(1_000, 2), rounds=1)
    return kinds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=200, help="boosting rounds; default 200")
    parser.add_argument("--epochs", type=int, default=3, help="passes over all rows; default 3")
    options = parser.parse_args()
    rounds = {"xgboost": options.rounds, "torch": options.epochs}
    table = Table("trainer", "rows", "CPU s", "GPU s", "GPU MiB", "CPU / GPU")
    kinds = {name: kinds_of(name) for name in TRAINERS}
    found = []
    for count in options.rows:
        train, validation = rows_of(count, 0), rows_of(max(1_000, count // 10), 2)
        for name in TRAINERS:
            cpu = trained(name, "cpu", train, validation, rounds[name])
            gpu = trained(name, "cuda", train, validation, rounds[name]) if "cuda" in kinds[name] else None
            ratio = cpu.seconds / gpu.seconds if gpu else None
            on_gpu = (f"{gpu.seconds:.2f}", str(gpu.peak_memory_mib), f"{ratio:.1f}") if gpu else ("untried",) * 3
            table.add_row(name, f"{count:,}", f"{cpu.seconds:.2f}", *on_gpu)
            times = {"cpu_seconds": cpu.seconds, "cuda": gpu.model_dump() if gpu else "untried"}
            found.append({"trainer": name, "rows": count, "cpu": cpu.names[0], **times, "cpu_over_cuda": ratio})
    Console().print(table)
    print(json.dumps({"cores": os.cpu_count(), "load": os.getloadavg()[0], "rounds": rounds, "trainings": found}))


if __name__ == "__main__":
    main()
