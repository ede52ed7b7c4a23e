"""What a search for parameters finds on real flights, and what the study, its pruning and MLflow cost beside the trainings.

    python tests/benchmarks/tuning.py --until 2013-07-01 --trials 20

Side by side: the parameters of model.yaml; Optuna alone, in memory, without pruning; and the step's search, with its study in a
ledger on disk (SQLite) and its runs in a real MLflow (SQLite, too, without a server). All learn from the same parts.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import optuna
from model_histories import MODELS, rows
from rich.console import Console
from rich.table import Table

from kilter.core.search_space import Value, starting_point
from kilter.core.splits import split_by_time
from kilter.encoding import Signature
from kilter.search import Fit, Plan, search
from kilter.settings import Settings
from kilter.spec import ModelSpec, load_spec
from kilter.step import StepContext, Stores, load_step
from kilter.steps.tune import fit_on
from kilter.stores.models import read_part, to_part
from kilter.stores.objects import commit_dataset
from kilter.stores.parquet import frame_to_parquet
from kilter.stores.registry import MlflowRegistry
from kilter.stores.studies import completed, ended, open_study
from kilter.trainers import Trained, trainer

MODEL = "flight_delay"


class Timed:
    """A training that tells how long it took in all, without what is done after each round."""

    def __init__(self, fit: Fit) -> None:
        self._fit = fit
        self.seconds = 0.0

    def __call__(self, parameters: dict[str, Value], on_round: Callable[[int, float], None]) -> Trained:
        began = time.perf_counter()

        def told(rounds: int, loss: float) -> None:
            nonlocal began
            self.seconds += time.perf_counter() - began
            try:
                on_round(rounds, loss)
            finally:
                began = time.perf_counter()

        try:
            return self._fit(parameters, told)
        finally:
            self.seconds += time.perf_counter() - began


@contextmanager
def installation(spec: ModelSpec) -> Iterator[StepContext]:
    """Stores in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        stores = Stores(Settings.from_environment({"KILTER_HOME": folder}), spec)
        stores.__dict__["registry"] = MlflowRegistry(f"sqlite:///{folder}/mlflow.db")
        stores.ledger.migrate()
        yield StepContext(spec, MODELS / MODEL, stores, load_step("tune").STEP, log=logging.getLogger("benchmark"))


def freeze(spec: ModelSpec, until: datetime, context: StepContext) -> str:
    """A snapshot of all flights up to a time; its key."""
    known = rows(spec, MODELS / MODEL, until)
    cuts = split_by_time(known[spec.timestamp].tolist(), spec.training.validation_share, spec.training.test_share)
    files = {f"{part}.parquet": frame_to_parquet(known.iloc[cut]) for part, cut in cuts.items()}
    return commit_dataset(context.objects, f"snapshots/{spec.name}", files, {"as_of": until.isoformat()}).key


def alone(plan: Plan, fit: Timed) -> tuple[float, dict[str, Any]]:
    """Optuna by itself: the same first trial, sampler and number of trials."""
    from kilter.stores.studies import _distribution

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=plan.seed))
    study.enqueue_trial(plan.first[0])
    space = {name: _distribution(values) for name, values in plan.space.items()}
    for _ in range(plan.trials):
        trial = study.ask(space)
        study.tell(trial, min(fit(trial.params, lambda rounds, loss: None).losses))
    return study.best_value, study.best_params


def measured(snapshot: str, parameters: dict[str, Any], context: StepContext) -> float:
    """ROC AUC on the test part of a training with these parameters."""
    from sklearn.metrics import roc_auc_score

    spec, signature = context.spec, Signature.of(context.spec)
    test = to_part(read_part(context.objects, snapshot, "test"), signature, spec.label.column)
    with fit_on(snapshot, context) as fit:
        trained = fit(parameters, lambda rounds, loss: None)
    return float(roc_auc_score(test.labels, trainer(spec.training.trainer).load(trained.files).predict(test.rows)))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--until", default="2013-07-01", help="flights before; default %(default)s")
    options.add_argument("--trials", type=int, default=20, help="of each search; default %(default)s")
    given = options.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spec = load_spec(MODELS / MODEL)
    spec = spec.model_copy(update={"tuning": spec.tuning.model_copy(update={"trials": given.trials})})
    found: dict[str, Any] = {"until": given.until, "trials": given.trials}
    with installation(spec) as context, ExitStack() as stack:
        snapshot = freeze(spec, datetime.fromisoformat(given.until).replace(tzinfo=UTC), context)
        plan = Plan.of(spec, snapshot, None)
        learn = stack.enter_context(fit_on(snapshot, context))
        fit = Timed(learn)
        now = starting_point(plan.space, spec.training.parameters)
        loss = min(fit(now, lambda rounds, loss: None).losses)
        found["model.yaml"] = {"loss": loss, "total": fit.seconds, "trainings": fit.seconds}
        chosen = {"model.yaml": now}
        fit, began = Timed(learn), time.perf_counter()
        loss, chosen["Optuna alone"] = alone(plan, fit)
        found["Optuna alone"] = {"loss": loss, "total": time.perf_counter() - began, "trainings": fit.seconds}
        fit, began = Timed(learn), time.perf_counter()
        best = search(plan, fit, {}, context)
        found["tune"] = {"loss": best.loss, "total": time.perf_counter() - began, "trainings": fit.seconds}
        chosen["tune"] = best.parameters
        with open_study(context.ledger, plan.study) as study:
            found["tune"]["pruned"] = len(ended(study)) - len(completed(study))
        for name, parameters in chosen.items():
            found[name]["roc_auc"] = measured(snapshot, parameters, context)
    table = Table("", "validation loss", "test ROC AUC", "in all, s", "trainings, s", "overhead a trial, ms")
    for name, trials in (("model.yaml", 1), ("Optuna alone", given.trials), ("tune", given.trials)):
        row = found[name]
        over = (row["total"] - row["trainings"]) / trials * 1000
        row["overhead_ms"] = over
        table.add_row(
            name,
            *(f"{row[key]:.4f}" for key in ("loss", "roc_auc")),
            *(f"{row[key]:.1f}" for key in ("total", "trainings")),
            f"{over:.0f}",
        )
    Console().print(table)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
