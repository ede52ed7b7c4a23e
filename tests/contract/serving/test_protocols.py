"""The two protocols at a real server, one of them asked by MLflow's own client."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pandas as pd
import pytest
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

import kilter

from .conftest import KEYS, MODEL, OTHER, ROW, Installation, split, wait_until

INFER = f"/v2/models/{MODEL}/infer"
INVOKE = f"/models/{MODEL}/invocations"
TENSORS = {
    "inputs": [
        {"name": name, "shape": [1], "datatype": "BYTES" if isinstance(value, str) else "FP32", "data": [value]}
        for name, value in {**KEYS, **ROW}.items()
    ]
}
DOCS = Path(__file__).parents[3] / "docs/serving.md"


@pytest.fixture
def champion(installation: Installation) -> Iterator[httpx.Client]:
    """The champion server with version 1."""
    installation.deploy("champion", 1)
    with httpx.Client(base_url=installation.settings.champion) as client:
        yield client


def test_mlflows_client_finds_it_up_and_gets_predictions(champion: httpx.Client) -> None:
    address = champion.base_url
    client = ScoringServerClient(address.host, f"{address.port}/models/{MODEL}")
    client.wait_server_ready(timeout=5)
    assert kilter.__version__ in client.get_version()
    rows = pd.DataFrame([ROW, ROW | {"hour": 3}])
    answer = client.invoke(rows)
    expected = champion.post(INVOKE, json=split(ROW, ROW | {"hour": 3})).json()
    assert answer.get_predictions().iloc[:, 0].tolist() == expected["predictions"]


def test_mlflows_ping_and_version_are_of_a_model_that_is_loaded(champion: httpx.Client) -> None:
    for path in ("ping", "version"):
        assert champion.get(f"/{path}").status_code == 200
        assert champion.get(f"/models/{MODEL}/{path}").status_code == 200
        assert champion.get(f"/models/{OTHER}/{path}").status_code == 503
        assert champion.get(f"/models/nobody/{path}").status_code == 404


def test_both_protocols_give_the_same_scores(champion: httpx.Client) -> None:
    (expected,) = champion.post(INVOKE, json=split({**KEYS, **ROW})).json()["predictions"]
    answer = champion.post(INFER, json=TENSORS | {"id": "mine"})
    assert answer.json() == {
        "model_name": MODEL,
        "model_version": "1",
        "id": "mine",
        "outputs": [{"name": "score", "datatype": "FP32", "shape": [1], "data": [expected]}],
    }
    assert answer.headers["x-model-version"] == "1"


def test_the_open_inference_protocol_tells_of_server_and_model(champion: httpx.Client) -> None:
    assert champion.get("/v2").json() == {"name": "kilter", "version": kilter.__version__, "extensions": []}
    assert champion.get("/v2/health/live").json() == {"live": True}
    assert champion.get("/v2/health/ready").json() == {"ready": True}
    told = champion.get(f"/v2/models/{MODEL}").json()
    assert [tensor["name"] for tensor in told["inputs"]] == [*ROW, *KEYS]
    assert champion.get(f"/v2/models/{MODEL}/ready").json() == {"name": MODEL, "ready": True}
    assert champion.get(f"/v2/models/{OTHER}/ready").status_code == 503
    assert champion.get("/v2/models/nobody").status_code == 404


def test_a_server_that_holds_nothing_is_live_and_not_ready(installation: Installation) -> None:
    installation.servers.withdraw("canary", MODEL)
    with httpx.Client(base_url=installation.settings.canary) as canary:
        wait_until(lambda: canary.get("/v2/health/ready").status_code == 503, "the canary is not ready")
        assert canary.get("/v2/health/live").status_code == 200
        assert canary.get("/docs").status_code == 200


def test_only_the_version_that_answers_can_be_asked_by_its_number(champion: httpx.Client) -> None:
    one, two = (f"/v2/models/{MODEL}/versions/{version}" for version in (1, 2))
    for path in ("", "/ready"):
        assert champion.get(one + path).status_code == 200
        assert champion.get(two + path).status_code == 404
    assert champion.post(f"{one}/infer", json=TENSORS).status_code == 200
    refused = champion.post(f"{two}/infer", json=TENSORS)
    assert refused.status_code == 404
    assert "no version '2' of 'flight_delay' here: 1 answers" in refused.json()["error"]
    assert champion.get(f"{one}/versions/1").status_code == 404


@pytest.mark.parametrize("path", [INVOKE, INFER, "/ping", "/metrics", "/docs", "/openapi.json", "/nowhere"])
def test_every_answer_has_the_clients_request_id_or_a_new_one(champion: httpx.Client, path: str) -> None:
    kept = "client-7_.A" * 5
    assert champion.post(path, json={}, headers={"x-request-id": kept}).headers["x-request-id"] == kept
    for unfit in ("", "a" * 65, "two words", "a\tb", "né"):
        answer = champion.post(path, json={}, headers={"x-request-id": unfit.encode()})
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"]), unfit


@pytest.mark.parametrize("path", [INVOKE, INFER])
def test_a_refusal_tells_request_and_version_too(champion: httpx.Client, path: str) -> None:
    refused = champion.post(path, json={"x": 1})
    assert refused.status_code == 400
    assert refused.headers["x-model-version"] == "1"
    assert refused.json() == {
        "error": "body: Object contains unknown field `x`",
        "request_id": refused.headers["x-request-id"],
        "model_version": 1,
    }


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 400),
        ("application/json; charset=utf-8", 400),
        ('Application/JSON;charset="UTF-8"', 400),
        ("application/json; charset=latin-1", 415),
        ("application/json; profile=x", 415),
        ("application/octet-stream", 415),
        ("text/csv", 415),
        ("", 415),
    ],
)
def test_a_body_says_that_it_is_json(champion: httpx.Client, content_type: str, status: int) -> None:
    for path in (INVOKE, INFER):
        answer = champion.post(path, content=b"{}", headers={"content-type": content_type})
        assert answer.status_code == status


def test_another_method_is_refused_with_the_one_that_is_allowed(champion: httpx.Client) -> None:
    for path in (INVOKE, INFER):
        refused = champion.get(path)
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    for path in ("/ping", "/metrics", f"/v2/models/{MODEL}", f"/models/{MODEL}/ready"):
        refused = champion.put(path)
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
    assert champion.put("/nowhere").status_code == 404


def test_the_requests_in_the_documentation_are_answered(champion: httpx.Client) -> None:
    asked = re.findall(r"^curl -s localhost:8900(\S+) -H '(\S+): (\S+)' -d '([^']+)'", DOCS.read_text(), re.MULTILINE)
    assert [path for path, *_ in asked] == [INVOKE, INFER]
    for path, header, value, body in asked:
        answer = champion.post(path, content=body, headers={header: value})
        assert answer.status_code == 200, answer.text
