"""The flows of the DAGs as plain calls of their steps, one after the other."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Protocol

from kilter.spec import CHECKS
from kilter.step import load_step

MONTHS = [datetime(2013, month, 1, tzinfo=UTC) for month in (1, 2, 3)]
"""Where the two months begin and end that the first champion is trained on."""


class Run(Protocol):
    """Runs a step and returns its outputs."""

    def __call__(self, step: str, /, **inputs: Any) -> dict[str, Any]: ...


class Serve(Protocol):
    """Holds a version in a serving container for a while; gives its base URL."""

    def __call__(self, version: int) -> AbstractContextManager[str]: ...


def bring_up_champion(run: Run, serve: Serve) -> None:
    """Ingest two months, and train, validate and promote the first model."""
    for start, end in pairwise(MONTHS):
        ingest(run, start, end)
    version = train(run, MONTHS[-1])
    validate(run, serve, version)
    rollout = run("stage", version=version)["rollout"]
    run("promote", rollout=rollout)


def ingest(run: Run, start: datetime, end: datetime) -> None:
    """`feature_ingestion` of one interval."""
    interval = {"start": start.isoformat(), "end": end.isoformat()}
    batch = run("extract", **interval)["batch"]
    run("validate_batch", batch=batch, **interval)
    digest = run("build_features", batch=batch, **interval)["digest"]
    run("materialize", digest=digest, **interval)


def train(run: Run, as_of: datetime) -> int:
    """`continuous_training`; return the version that it registers."""
    snapshot = run("freeze_dataset", as_of=as_of.isoformat())["snapshot"]
    profile = run("profile", snapshot=snapshot)["profile"]
    tuned = run("tune", snapshot=snapshot)
    trained = run("train", snapshot=snapshot, parameters=tuned["parameters"])
    made = {"snapshot": snapshot, "model": trained["model"]}
    made |= {"evaluation": run("evaluate", **made)["evaluation"], "profile": profile, "device": trained["device"]}
    version: int = run("register", **made, parameters_of=tuned["origin"], reason="benchmark")["version"]
    return version


def validate(run: Run, serve: Serve, version: int) -> None:
    """`model_validation`."""
    with serve(version) as endpoint:
        holdout = run("score_holdout", version=version)["holdout"]
        inputs = {"holdout": holdout, "endpoint": endpoint}
        judgements = [run(f"check_{check}", **_taken(check, inputs))["judgement"] for check in CHECKS]
    run("judge", version=version, holdout=holdout, judgements=judgements)


def _taken(check: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """Those inputs that the check's step takes."""
    return {name: inputs[name] for name in load_step(f"check_{check}").Inputs.model_fields}


def roll_out(run: Run, version: int, weights: tuple[int, ...]) -> None:
    """`canary_promotion` beside a champion; requests must flow meanwhile."""
    rollout = run("stage", version=version)["rollout"]
    run("shadow", rollout=rollout)
    for weight in weights:
        run("canary", rollout=rollout, weight=weight)
    run("promote", rollout=rollout)
    run("roll_back", version=version)


def monitor(run: Run, start: datetime, end: datetime) -> None:
    """`drift_monitoring` of one interval, and the decision on its report."""
    interval = {"start": start.isoformat(), "end": end.isoformat()}
    window = run("join_labels", **interval)["window"]
    report = run("report_drift", window=window, **interval)["report"]
    run("arbitrate", report=report)
