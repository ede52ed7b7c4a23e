"""What the DAGs of all models have in common: settings, Params, assets, and the interval they work on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, Param

from kilter.spec import ModelSpec
from kilter_airflow.conditions import Fact
from kilter_airflow.timetables import IntervalTimetable


def _event_time(title: str, description: str) -> Param:
    """A Param for an event time that may be left empty."""
    return Param(
        None,
        type=["null", "string"],
        format="date-time",
        title=title,
        description=f"Event time, with its offset. {description}",
    )


NO_CACHE = Param(
    False,
    type="boolean",
    title="Run everything again",
    description="Run steps even where the result of equal inputs, code and image is there already.",
)

INTERVAL_PARAMS = {
    "interval_start": _event_time("Start of the interval", "Empty: the run's own data interval. Give both or none."),
    "interval_end": _event_time(
        "End of the interval", "Not included. Empty: the run's own data interval. Give both or none."
    ),
}

VERSION_PARAM = Param(
    type="integer",
    minimum=1,
    title="Model version",
    description="Version number in the MLflow registry.",
)

CANDIDATE = Param(
    None,
    type=["null", "integer"],
    minimum=1,
    title="Model version",
    description="Version number in the MLflow registry. Empty: the candidate that is held, if labels have come since.",
)

TABLE = Param(
    "",
    type="string",
    title="Table",
    description=(
        "Parquet files with the entity's column and the event time's: a pattern of keys in the object store, such as "
        "tables/march/*.parquet, or s3://bucket/pattern. Empty: all features of the model say who is scored, and when."
    ),
)
SCORED_BY = Param(
    None,
    type=["null", "integer"],
    minimum=1,
    title="Model version",
    description="Version number in the MLflow registry. Empty: the champion.",
)

LABELS_BY = _event_time("Judge by the labels known at", "Empty: the end of the newest passed interval.")

AS_OF = _event_time("Train as of", "Only what was known then is used. Empty: the end of the newest passed interval.")
REASON = Param("", type="string", title="Reason", description="Why this training runs; kept in the lineage.")

SCOPE = Param(
    None,
    type=["null", "object"],
    title="What to train on",
    description=(
        'Such as {"kind": "recent", "spans": [["2013-03-01T00:00:00Z", "2013-05-01T00:00:00Z"]]}: rows whose event time lies in '
        "one of the spans, from each start until before its end. Empty: everything known, as far as training.window reaches."
    ),
)
DECISION = Param(
    None,
    type=["null", "integer"],
    minimum=1,
    title="Decision",
    description="Row of the ledger that this run follows from. Empty: none, it was started by hand.",
)
TUNE = Param(
    False,
    type="boolean",
    title="Search for parameters",
    description=(
        "Try other parameters of the trainer first, as model.yaml's `tuning` says. Otherwise they come from the last search, "
        "unless its schedule asks for another one."
    ),
)

RETRAINING = "{{ 'decision %d' % params.decision if params.decision else 'run %s' % run_id }}"
"""What began a retraining, by which the ledger knows it."""

BACKTEST_PARAMS = {
    "first": _event_time("From", "Intervals that begin earlier are left out. Empty: all."),
    "last": _event_time("To", "Intervals that end later are left out. Empty: all."),
    "every": Param(
        5, type="integer", minimum=1, title="Every k windows", description="The k of the yardstick of that name."
    ),
}

WAITING_RUNS = 8
"""Runs of one DAG at once where some may wait for a person, or supersede others."""

SERVED_CHECKS = frozenset({"prediction_parity", "serving_fitness"})
"""Checks that talk to a server with the candidate."""

ACTION = Param(
    "hold",
    type="string",
    enum=["hold", "resume", "abort", "rollback"],
    title="What to do",
    description=(
        "hold: all traffic to the champion, keep the candidate; resume: go on where it was held; abort: end the rollout; "
        "rollback: the champion's predecessor takes over again."
    ),
)
GOES = Param(
    None,
    type=["null", "integer"],
    minimum=1,
    title="Model version",
    description="rollback: the version that shall go. Empty: the champion.",
)
WISH = Param(
    None,
    type=["null", "string"],
    enum=[None, "retrain", "redeploy"],
    title="What to do",
    description=(
        "retrain: train on all history now; redeploy: bring the version below back, which was champion before. Empty: what the "
        "arbiter says."
    ),
)
GOOD_AGAIN = Param(
    None,
    type=["null", "integer"],
    minimum=1,
    title="Model version",
    description="redeploy: the former champion that shall come back.",
)
FAST = Param(
    False,
    type="boolean",
    title="It comes back",
    description="For a version that was champion before: fewer and shorter steps, by canary.fast.",
)
ACTION_REASON = Param("", type="string", maxLength=1000, title="Reason", description="Kept in the ledger.")

_CURE = "none: this run has no data interval; trigger it with interval_start and interval_end"
_HALF = "none: one of interval_start and interval_end was given without the other; give both or none"


def _bound(name: str) -> str:
    """Template of an interval's bound: the Params if both are given, else the run's own; else text that no step takes."""
    return (
        "{% if (not params.interval_start) != (not params.interval_end) %}" + _HALF + "{% else %}"
        "{{ params.interval_" + name + " or data_interval_" + name + " | default('" + _CURE + "') }}{% endif %}"
    )


INTERVAL = {"start": _bound("start"), "end": _bound("end")}
"""Inputs `start` and `end` of the steps that work on one interval."""


def common(spec: ModelSpec, stage: str, doc: str | None) -> dict[str, Any]:
    """Arguments that every DAG of a model shares.

    Runs follow one another, and faults are tried again twice, after about 10 and 20 seconds.

    Args:
        doc: the DAG file's docstring, for the person on call.
    """
    return {
        "dag_id": f"{spec.name}.{stage}",
        "description": f"{stage.replace('_', ' ').capitalize()} of {spec.name}: {spec.description}",
        "doc_md": doc,
        "tags": ["kilter", spec.name, stage, *spec.tags],
        "start_date": spec.schedule.start,
        "catchup": False,
        "max_active_runs": 1,
        "default_args": {
            "owner": spec.owner,
            "retries": 2,
            "retry_delay": timedelta(seconds=10),
            "retry_exponential_backoff": 2,
            "max_retry_delay": timedelta(minutes=10),
        },
    }


def waiting_runs(spec: ModelSpec) -> dict[str, int]:
    """More runs at once where a run may wait for a person, so that it holds up no other candidate meanwhile."""
    return {} if spec.gate.approval == "never" else {"max_active_runs": WAITING_RUNS}


def rollouts_at_once(spec: ModelSpec) -> dict[str, int]:
    """A run that supersedes another must be able to begin beside it."""
    return {"max_active_runs": WAITING_RUNS} if spec.canary.second_rollout == "supersede" else {}


def check_steps(spec: ModelSpec, served: bool) -> list[str]:
    """Steps of the gate's checks: those that talk to a server with the candidate, or all others."""
    return [f"check_{name}" for name in spec.checks if (name in SERVED_CHECKS) == served]


def every_interval(spec: ModelSpec) -> IntervalTimetable:
    """A run for each of the model's intervals, when the interval ends."""
    return IntervalTimetable(spec.schedule.cron, spec.schedule.end)


def asset(spec: ModelSpec, name: str) -> Asset:
    """A model's asset, such as `flight_delay.features`."""
    return Asset(f"{spec.name}.{name}")


def outputs_of(task: str, params: Mapping[str, str], **others: Any) -> str:
    """Params of another DAG's run as JSON with a template for each output, which keeps its type, also where there is none.

    >>> outputs_of("judge", {"version": "version"}, fast=True)
    '{"fast": true, "version": {{ ti.xcom_pull("judge", key="version") | tojson }}}'

    Args:
        params: the output by the Param that it becomes.
        others: Params with values of their own.
    """
    known = [f'"{param}": {json.dumps(value)}' for param, value in others.items()]
    told = [f'"{param}": {{{{ ti.xcom_pull("{task}", key="{output}") | tojson }}}}' for param, output in params.items()]
    return "{" + ", ".join(known + told) + "}"


def passed(task: str) -> list[Fact]:
    """Condition that a judging step passed."""
    return [Fact(task, "verdict", "passed")]
