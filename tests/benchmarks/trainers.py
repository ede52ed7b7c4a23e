"""Both trainers on the flights: trained on the months up to one, tested on the next.

    python tests/benchmarks/trainers.py [--months 2 5 8]

XGBoost has the parameters of `flight_delay`, torch those of `arrival_delay`, for both questions. Prints a table and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from model_histories import history

from kilter.backtest.history import History
from kilter.core.metrics import loss_metric, measure
from kilter.spec import Training, load_spec
from kilter.trainers import Part, TrainingRun, trainer

MODELS = Path(__file__).parents[2] / "include/models"
QUESTIONS = {"arrival_delay": "mae", "flight_delay": "roc_auc"}
TRAININGS = ("flight_delay", "arrival_delay")
RECENT = 3
"""Months to learn from, at most."""


def learn(known: History, metric: str, training: Training, months: int) -> dict[str, Any]:
    """Train on the last months before one, and measure on it."""
    start, end = known.edges[max(0, months - RECENT)], known.edges[months]
    cut = start + int((end - start) * (1 - training.validation_share))
    train, validation = (Part(known.matrix[a:b], known.labels[a:b]) for a, b in ((start, cut), (cut, end)))
    loss = loss_metric(known.spec.task, known.spec.evaluation.primary)
    module = trainer(training.trainer)
    began = time.monotonic()
    made = module.train(train, validation, TrainingRun(known.signature, training, loss))
    seconds = time.monotonic() - began
    test = known.window(months)
    scores = module.load(made.files).predict(known.matrix[test])
    found = measure([metric], known.labels[test].astype(np.float64), scores)[metric]
    return {"rows": len(train), metric: round(found, 4), "seconds": round(seconds, 1), "rounds": made.rounds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--months", type=int, nargs="+", default=[2, 5, 8], help="months that are known")
    options = parser.parse_args()
    results = []
    for name, metric in QUESTIONS.items():
        known = history(name, 2)
        for months in options.months:
            for training in (load_spec(MODELS / model).training for model in TRAININGS):
                found = {"question": name, "months": months, "trainer": training.trainer}
                found |= learn(known, metric, training, months)
                results.append(found)
                print(
                    f"{name:14} {months:2} months, {found['rows']:6} rows  {training.trainer:8} {metric} {found[metric]:8.4f}"
                    f"  {found['seconds']:6.1f} s, {found['rounds']} rounds",
                    flush=True,
                )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
