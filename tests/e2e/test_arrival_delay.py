"""The loop with another task and another trainer: minutes late, by a network, on an installation of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from mlflow.tracking import MlflowClient

from kilter.core.rollout import PROMOTED
from kilter.demo.replay import Replay
from kilter.settings import Settings
from kilter.spec import load_spec
from kilter.stores.ledger import Ledger
from kilter.stores.objects import open_objects, read_manifest
from kilter.stores.registry import MlflowRegistry
from kilter.stores.score_sets import read_scores

from .conftest import REPOSITORY, Demo, driven, wait_until

MODEL = "arrival_delay"
MARCH, APRIL = datetime(2013, 3, 1, tzinfo=UTC), datetime(2013, 4, 1, tzinfo=UTC)
INTERVAL = {"interval_start": MARCH.isoformat(), "interval_end": APRIL.isoformat()}
RATE = 60

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """January and February brought up the first champion."""
    with driven(MODEL, "2013-03", REPOSITORY / ".kilter-e2e-minutes") as made:
        yield made


@pytest.fixture(scope="module")
def settings(demo: Demo) -> Settings:
    return Settings.from_environment(demo.environment)


def test_the_demo_of_a_network_ends_well(demo: Demo) -> None:
    assert demo.returncode == 0, demo.output[-5000:]
    assert demo.summary["metric"] == "mae"


def test_its_first_champion_is_a_network_in_safe_formats(demo: Demo) -> None:
    client = MlflowClient(demo.environment["KILTER_MLFLOW"])
    run = client.get_model_version(MODEL, "1").run_id
    assert client.get_run(run).data.params["trainer"] == "torch"
    assert {item.path for item in client.list_artifacts(run, "model")} == {
        f"model/{name}" for name in ("model.onnx", "model.safetensors", "signature.json")
    }
    told = json.loads(demo.kilter("lineage", MODEL, "1").stdout)["lineage"]
    assert (told["device"], told["parameters_of"]) == ("cpu", "model.yaml")
    assert int(told["device_peak_memory_mib"]) > 100


def test_the_champion_server_answers_with_its_graph(demo: Demo) -> None:
    ready = httpx.get(f"{demo.environment['KILTER_CHAMPION']}/models/{MODEL}/ready").json()
    assert ready["version"] == 1
    assert "onnxruntime" in json.dumps(ready)


def test_a_retraining_that_a_person_asks_for_takes_traffic_and_the_role(demo: Demo, settings: Settings) -> None:
    ledger, registry, airflow = Ledger(settings.ledger), MlflowRegistry(settings.mlflow), demo.airflow_client()
    airflow.wait(f"{MODEL}.feature_ingestion", [airflow.trigger(f"{MODEL}.feature_ingestion", INTERVAL)])
    replay = Replay(load_spec(settings.models / MODEL), open_objects(settings.objects), MARCH, "origin")
    stop = threading.Event()
    url = f"{settings.endpoint}/models/{MODEL}/invocations"

    def ask() -> None:
        with httpx.Client(timeout=30) as client:
            replay.keep_asking(client, url, RATE, lambda: not stop.is_set())

    traffic = threading.Thread(target=ask)
    traffic.start()
    try:
        run = airflow.trigger(f"{MODEL}.drift_response", {"wish": "retrain", "reason": "spring"})
        airflow.wait(f"{MODEL}.drift_response", [run])
        wait_until(lambda: _ended(ledger), "the retraining's rollout")
    finally:
        stop.set()
        traffic.join()
    (rollout,) = [row for row in ledger.rollouts(MODEL) if row["candidate"] == 2]
    events = ledger.rollout_events(rollout["id"])
    assert rollout["state"] in PROMOTED, events[-1]["reason"]
    assert registry.champion(MODEL) == 2
    assert (replay.failed, registry.tags(MODEL, 2)["predecessor"]) == (0, "1")
    assert "asked for: spring" in ledger.decisions(MODEL)[-1]["reason"]


def test_what_was_answered_is_monitored_and_decided_on(demo: Demo, settings: Settings) -> None:
    ledger, airflow = Ledger(settings.ledger), demo.airflow_client()
    airflow.wait(f"{MODEL}.drift_monitoring", [airflow.trigger(f"{MODEL}.drift_monitoring", INTERVAL)])

    def on_reports() -> list[Any]:
        return [row for row in ledger.decisions(MODEL) if row["trigger"].startswith("reports/")]

    wait_until(on_reports, "the decision on March")
    (decision,) = on_reports()
    assert decision["event_time"] == APRIL
    judged = {item["name"]: item["verdict"] for item in decision["evidence"]["judgements"]}
    assert judged["performance"] in ("passed", "failed")


def _ended(ledger: Ledger) -> bool:
    """Whether the retrained version is promoted, or will not be: the gate refused it, or its rollout ended otherwise."""
    refused = any(row["version"] == 2 and row["action"] != "promote" for row in ledger.verdicts(MODEL))
    rollout = ledger.newest_rollout(MODEL, 2)
    return refused or (rollout is not None and rollout["state"] in (*PROMOTED, "rolled_back", "aborted"))


def test_a_table_is_scored_in_airflow_by_the_champion_of_now(demo: Demo, settings: Settings) -> None:
    airflow, objects = demo.airflow_client(), open_objects(settings.objects)
    champion = MlflowRegistry(settings.mlflow).champion(MODEL)
    table = f"features/{MODEL}/20130301T000000.parquet"
    dag = f"{MODEL}.batch_scoring"
    runs = [airflow.trigger(dag, {"table": table}) for _ in range(2)]
    airflow.wait(dag, runs)
    scored = [read_manifest(objects, airflow.output(dag, run, "collect")["scored"]).facts for run in runs]
    (key,) = {part["scores"] for facts in scored for part in facts["partitions"]}
    parts = [pq.read_table(objects.open(f"{key}/{name}")) for name in read_scores(objects, key).files]
    rows = pq.read_metadata(objects.open(table)).num_rows
    assert [facts["rows"] for facts in scored] == [rows, rows] == [sum(map(len, parts))] * 2
    assert {version for part in parts for version in part["model_version"].unique().to_pylist()} == {champion}
    assert sum(part["score"].null_count for part in parts) == 0
