"""The whole loop, shortened, as it stands after the demo."""

from __future__ import annotations

import json

import docker
import httpx
import pytest
from mlflow.tracking import MlflowClient

from kilter.spec import load_spec
from kilter.stores.router import Router

from .conftest import MODEL, REPOSITORY, Demo

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


def test_the_demo_ends_well(demo: Demo) -> None:
    assert demo.returncode == 0, demo.output[-5000:]


def test_it_says_first_in_which_runtime_steps_run_and_why(demo: Demo) -> None:
    assert "steps run in the" in demo.output.splitlines()[0]


def test_quality_decayed_once_and_that_led_to_one_retraining(demo: Demo) -> None:
    decisions = demo.summary["decisions"]
    assert [row["action"] for row in decisions] == ["wait", "retrain"]
    assert "quality decayed: loss of version 1" in decisions[1]["reason"]


def test_the_retrained_model_is_the_champion_and_the_first_one_its_predecessor(demo: Demo) -> None:
    versions = {row["version"]: row["role"] for row in demo.summary["versions"]}
    assert versions == {1: "predecessor", 2: "champion"}


def test_the_canary_took_traffic_step_by_step(demo: Demo) -> None:
    traced = json.loads(demo.kilter("lineage", MODEL, "2").stdout)
    (rollout,) = traced["rollouts"]
    assert rollout["state"] in ("promoted", "settled")
    reasons = " ".join(event["reason"] for event in rollout["events"])
    for step in ("answers copies", "0 -> 10", "10 -> 50", "50 -> 100"):
        assert step in reasons


def test_the_lineage_is_complete(demo: Demo) -> None:
    lineage = json.loads(demo.kilter("lineage", MODEL).stdout)["lineage"]
    for tag in ("dag_id", "run_id", "dag_version", "git_commit", "environment_digest", "snapshot_digest", "reason"):
        assert lineage[tag], tag
    assert lineage["predecessor"] == "1"
    assert lineage["gate_verdict"] == "passed"
    if "the docker runtime" in demo.output:
        assert lineage["image_digest"].startswith("sha256:")


def test_mlflow_shows_the_plots_the_profile_and_the_model(demo: Demo) -> None:
    client = MlflowClient(demo.environment["KILTER_MLFLOW"])
    run = client.get_model_version(MODEL, "2").run_id
    shown = {item.path for folder in ("evaluation", "model", "profile") for item in client.list_artifacts(run, folder)}
    assert {"evaluation/roc.png", "evaluation/calibration.png", "evaluation/importance.png"} <= shown
    assert {"model/model.ubj", "profile/profile.html"} <= shown


def test_both_model_servers_hold_what_the_registry_says(demo: Demo) -> None:
    for role, version in (("CHAMPION", 2), ("CANARY", 1)):
        answer = httpx.get(f"{demo.environment[f'KILTER_{role}']}/models/{MODEL}/ready")
        assert answer.json()["version"] == version


def test_every_request_is_answered_by_the_champion_again(demo: Demo) -> None:
    assert Router(demo.environment["KILTER_ROUTER"]).weights(MODEL) == {"champion": 100, "canary": 0}
    features = [feature.name for feature in load_spec(REPOSITORY / "include" / "models" / MODEL).features.columns]
    body = {"dataframe_split": {"columns": features, "data": [[None] * len(features)]}}
    url = f"{demo.environment['KILTER_ENDPOINT']}/models/{MODEL}/invocations"
    assert {httpx.post(url, json=body).json()["model_version"] for _ in range(20)} == {2}


def test_the_step_containers_are_gone(demo: Demo) -> None:
    if "the docker runtime" not in demo.output:
        pytest.skip("steps ran as processes")
    found = docker.from_env().containers.list(all=True, filters={"label": f"kilter.home={demo.home}"})
    assert found == []


def test_the_summary_shows_tables_and_where_to_look(demo: Demo) -> None:
    for text in ("roc_auc by month", "Decisions", "Model versions", "Stages in Airflow", demo.airflow, "user admin"):
        assert text in demo.output
