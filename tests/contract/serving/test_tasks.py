"""Models of many classes and of numbers at real servers: answered, logged, joined with labels, and compared in a rollout."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pandas as pd
import pytest
import schemathesis
import xgboost

from kilter.core.verdict import Verdict
from kilter.encoding import Signature, encode
from kilter.keys import interval_key
from kilter.spec import ModelSpec, load_spec
from kilter.step import RunInfo, run_step
from kilter.stores.arms import Mirror
from kilter.stores.objects import Manifest, read_file
from kilter.stores.parquet import frame_to_parquet, read_table

from .candidate import Candidate
from .conftest import ROW, TASKS, Installation, make_model, split, wait_until, write_spec

START = datetime(2013, 1, 3, tzinfo=UTC)
END = START + timedelta(days=1)
ROWS = [ROW, ROW | {"hour": 3, "carrier": None}, dict.fromkeys(ROW), ROW | {"distance": 0.1, "origin": "LGA"}]
OUTCOMES: dict[str, list[Any]] = {"multiclass": ["late", "never", "on time"], "regression": [12.5, -3.0, 0.0]}


class Model(NamedTuple):
    """A model that the champion holds as version 1."""

    installation: Installation
    spec: ModelSpec
    made: Manifest
    champion: httpx.Client

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def classes(self) -> tuple[str, ...]:
        return self.spec.label.classes

    def asked(self, *rows: dict[str, Any], server: str = "") -> list[Any]:
        """The predictions for rows, by the champion or by the server at another address."""
        answer = self.champion.post(f"{server}/models/{self.name}/invocations", json=split(*rows))
        assert answer.status_code == 200, answer.text
        return answer.json()["predictions"]

    def number(self, row: dict[str, Any], server: str = "") -> float:
        """The prediction for a row as one number."""
        (score,) = self.asked(row, server=server)
        return max(score) if self.classes else score

    def expected(self) -> np.ndarray[Any, Any]:
        """What XGBoost itself says of `ROWS`."""
        booster = xgboost.Booster()
        booster.load_model(bytearray(read_file(self.installation.objects, self.made, "model.ubj")))
        matrix = encode({name: [row[name] for row in ROWS] for name in ROW}, Signature.of(self.spec))
        return booster.inplace_predict(matrix, missing=np.nan, validate_features=False)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Servers, without HAProxy, that know a model of each task."""
    made = Installation(tmp_path_factory.mktemp("tasks"))
    for task in TASKS:
        write_spec(made.settings.models, task, task)
    try:
        for role in ("champion", "canary"):
            made.start_server(role)
        for role in ("champion", "canary"):
            made.wait_for_server(role)
        yield made
    finally:
        made.stop()


@pytest.fixture(params=TASKS)
def model(tasks: Installation, request: pytest.FixtureRequest) -> Iterator[Model]:
    spec = load_spec(tasks.settings.models / request.param)
    made = make_model(tasks.objects, spec, 1)
    tasks.servers.deploy("champion", spec.name, 1, made.key, made.digest)
    with httpx.Client(base_url=tasks.settings.champion) as client:
        yield Model(tasks, spec, made, client)


def test_rows_are_scored_as_xgboost_scores_them_in_the_order_of_the_classes(model: Model) -> None:
    ready = model.champion.get(f"/models/{model.name}/ready").json()
    assert ready["predictor"] == "onnxruntime"
    expected = model.expected()
    assert expected.shape == ((len(ROWS), 3) if model.classes else (len(ROWS),))
    np.testing.assert_allclose(model.asked(*ROWS), expected, rtol=1e-6)
    np.testing.assert_allclose(model.asked(*ROWS * 5), np.concatenate([expected] * 5), rtol=1e-6)


def test_the_open_inference_protocol_gives_the_same_numbers_row_after_row(model: Model) -> None:
    inputs = [
        {
            "name": name,
            "shape": [len(ROWS)],
            "datatype": "BYTES" if isinstance(value, str) else "FP32",
            "data": [row[name] for row in ROWS],
        }
        for name, value in ROW.items()
    ]
    answer = model.champion.post(f"/v2/models/{model.name}/infer", json={"inputs": inputs}).json()
    scores = model.asked(*ROWS)
    (output,) = answer["outputs"]
    assert output["shape"] == list(np.shape(scores))
    assert output["data"] == np.ravel(scores).tolist()
    (told,) = model.champion.get(f"/v2/models/{model.name}").json()["outputs"]
    assert told["shape"] == [-1, *np.shape(scores)[1:]]
    assert json.loads(told.get("parameters", {}).get("classes", "[]")) == list(model.classes)


def test_the_document_and_its_page_tell_what_a_score_is(model: Model) -> None:
    document = model.champion.get(f"/models/{model.name}/openapi.json").json()
    answered = document["paths"][f"/models/{model.name}/invocations"]["post"]["responses"]["200"]
    items = answered["content"]["application/json"]["schema"]["properties"]["predictions"]["items"]
    assert items == {"$ref": f"#/components/schemas/{model.name}.Score"}
    score = document["components"]["schemas"][f"{model.name}.Score"]
    if model.classes:
        assert [item["description"] for item in score["prefixItems"]] == [
            f"probability of '{name}'" for name in model.classes
        ]
    else:
        assert score == {"type": "number", "description": "the predicted number"}
    assert score["description"] in model.champion.get(f"/models/{model.name}/docs").text
    schema = schemathesis.openapi.from_dict(document)
    for path in (f"/models/{model.name}/invocations", f"/v2/models/{model.name}/infer"):
        (content,) = document["paths"][path]["post"]["requestBody"]["content"].values()
        schema[path]["POST"].validate_response(model.champion.post(path, json=content["example"]))
    metadata = f"/v2/models/{model.name}"
    schema[metadata]["GET"].validate_response(model.champion.get(metadata))


def test_what_was_answered_is_logged_and_joined_with_its_labels(model: Model) -> None:
    spec, objects = model.spec, model.installation.objects
    keys = [
        {"flight_id": f"{place}", "scheduled_departure": (START + timedelta(hours=place)).isoformat()}
        for place in range(len(ROWS))
    ]
    scores = model.asked(*({**key, **row} for key, row in zip(keys, ROWS, strict=True)))
    wait_until(lambda: objects.list(f"predictions/{model.name}/20130103"), "the rows are logged", 10)
    outcomes = OUTCOMES[model.spec.task]
    times = pd.Series([START + timedelta(hours=place) for place in range(len(outcomes))])
    labels = pd.DataFrame(
        {
            spec.entity: [key["flight_id"] for key in keys[: len(outcomes)]],
            spec.timestamp: times,
            spec.label.column: outcomes,
            spec.label.timestamp: times + timedelta(hours=1),
        }
    )
    objects.put(interval_key("labels", model.name, START), frame_to_parquet(labels))
    interval = {"start": START.isoformat(), "end": END.isoformat()}
    folder = model.installation.settings.models / model.name
    log = logging.getLogger("test")
    outputs = run_step("join_labels", folder, interval, RunInfo(), model.installation.settings, log).outputs
    assert (outputs["rows"], outputs["labelled"]) == (len(ROWS), len(outcomes))
    window = read_table(objects, outputs["window"], "window.parquet").to_pylist()
    assert [row["score"] for row in window] == scores
    assert [row[spec.label.column] for row in window] == [*outcomes, None]


def test_both_arms_of_a_rollout_are_compared_by_one_number_a_row(model: Model) -> None:
    servers = model.installation.servers
    other = make_model(model.installation.objects, model.spec, 2)
    servers.deploy("canary", model.name, 2, other.key, other.digest)
    answered = servers.answers("champion", model.name).requests
    mirror = Mirror(servers, model.name, "champion")
    numbers = {model.number(row) for row in ROWS}
    assert {score for _, score in servers.answers("champion", model.name, answered).newest} == numbers
    look = mirror.look()
    assert (look.champion.requests, look.canary.requests) == (len(ROWS), len(ROWS))
    # Of the first pair one score waits for the next look.
    assert len(look.champion.scores) == len(look.canary.scores) == len(ROWS) - 1
    assert set(look.champion.scores) <= numbers
    canary = {model.number(row, server=model.installation.settings.canary) for row in ROWS}
    assert set(look.canary.scores) <= canary


@pytest.mark.parametrize("task", TASKS)
def test_the_gate_finds_a_good_server_fit_and_equal_to_the_training_code(tmp_path: Path, task: str) -> None:
    candidate = Candidate(tmp_path, task=task)
    with candidate.server() as endpoint:
        fit = candidate.check("serving_fitness", endpoint)
        assert fit.verdict is Verdict.PASSED, fit.reason
        assert fit.figures["answered"] == 400
        served = candidate.check("prediction_parity", endpoint).figures["served"]
    assert (served["rows"], served["differing"], served["refused"], served["silent"]) == (200, 0, "", "")
    assert served["largest"] <= 1e-6


def test_features_in_another_order_are_named_by_whatever_class_shows_them(tmp_path: Path) -> None:
    candidate = Candidate(tmp_path, task="multiclass")
    with candidate.server("reordered") as endpoint:
        judged = candidate.check("prediction_parity", endpoint)
    assert judged.verdict is Verdict.FAILED
    assert "the server handles hour" in judged.reason
