"""What `/metrics` tells, in Prometheus' text format."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kilter.encoding import Matrix, Signature
from kilter.serving import models as models_module
from kilter.serving.metrics import peak_memory
from kilter.serving.models import WATCHED_SECONDS, LiveModels, LoadedModel
from kilter.serving.prediction_log import LogState, NoLog
from kilter.serving.server import ModelServer
from kilter.spec import Feature
from kilter.stores.deployment import Deployment, Role
from kilter.stores.objects import FileObjects

SIGNATURE = Signature(entity="id", timestamp="at", features=(Feature(name="x"),))


class Doubler:
    """Its score is twice its feature."""

    name = "doubler"

    def predict(self, rows: Matrix) -> list[float]:
        scores: list[float] = (rows[:, 0] * 2).tolist()
        return scores


class Client:
    """Asks the application itself."""

    def __init__(self, home: Path, role: Role = "champion") -> None:
        objects, log = FileObjects(home), logging.getLogger("test")
        models = LiveModels(objects, role, lambda: [], log)
        deployment = Deployment(model="m", version=3, key="models/m/d", digest="d")
        self.model = LoadedModel(deployment, SIGNATURE, Doubler())
        models.__dict__["_loaded"] |= {"m": self.model, "empty": None}
        self.log = NoLog()
        self._server = ModelServer(models, self.log)

    def ask(
        self, path: str, body: bytes = b"", method: str = "GET", query: bytes = b"", copy: bool = False
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/json"), *([(b"x-kilter-copy", b"1")] if copy else [])]
        scope = {"type": "http", "method": method, "path": path, "headers": headers, "query_string": query}
        asyncio.run(self._server(scope, receive, send))
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]

    def score(self, x: object, model: str = "m") -> int:
        body = json.dumps({"dataframe_records": [{"x": x}]}).encode()
        return self.ask(f"/models/{model}/invocations", body, "POST")[0]

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Values by name and labels, these in the order of their names: model, status, version."""
        families = text_string_to_metric_families(self.ask("/metrics")[2].decode())
        samples = [sample for family in families for sample in family.samples]
        return {(sample.name, *dict(sorted(sample.labels.items())).values()): sample.value for sample in samples}


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path)


def test_it_is_prometheus_text_with_its_length(client: Client) -> None:
    status, headers, body = client.ask("/metrics")
    assert status == 200
    assert headers[b"content-type"].startswith(b"text/plain; version=")
    assert int(headers[b"content-length"]) == len(body)


def test_answers_and_their_seconds_are_counted_by_model_and_version(client: Client) -> None:
    assert [client.score(0.1), client.score(0.2)] == [200, 200]
    metrics = client.metrics()
    assert metrics["kilter_requests_total", "m", "3"] == 2
    assert metrics["kilter_request_seconds_count", "m", "3"] == 2
    assert metrics["kilter_request_seconds_sum", "m", "3"] == pytest.approx(
        sum(seconds for seconds, _ in client.model.answers(after=0))
    )


def test_refusals_are_counted_by_status(client: Client) -> None:
    assert [client.score("text"), client.score(0.1, "empty"), client.score(0.1, "nobody")] == [400, 503, 404]
    metrics = client.metrics()
    assert metrics["kilter_errors_total", "m", "400", "3"] == 1
    assert metrics["kilter_errors_total", "empty", "503", ""] == 1
    # No series for a name that a client made up.
    assert metrics["kilter_errors_total", "", "404", ""] == 1


def test_a_fault_of_the_server_is_counted_as_500(client: Client) -> None:
    client.model.__dict__["_predictor"] = SimpleNamespace()
    with pytest.raises(AttributeError):
        client.score(0.1)
    assert client.metrics()["kilter_errors_total", "m", "500", "3"] == 1


def test_it_tells_when_each_version_was_loaded_and_forgets_those_that_are_gone(client: Client) -> None:
    loaded = ("kilter_model_loaded_time_seconds", "m", "3")
    assert client.metrics()[loaded] == pytest.approx(client.model.loaded_at)
    assert client.metrics()[loaded] > client.metrics()["process_start_time_seconds",]
    cast(Any, client)._server._models._loaded["m"] = None
    assert loaded not in client.metrics()


def test_it_tells_what_became_of_the_rows_of_the_log(client: Client) -> None:
    cast(Any, client.log).state = LogState(logged=5, waiting=4, dropped=3, spool_bytes=2, torn_bytes=1)
    metrics = client.metrics()
    names = ("rows_total", "waiting_rows", "dropped_rows_total", "spool_bytes", "torn_bytes_total")
    assert [metrics[f"kilter_log_{name}",] for name in names] == [5, 4, 3, 2, 1]


def test_the_peak_of_memory_is_at_least_what_is_resident_now(client: Client) -> None:
    metrics = client.metrics()
    peak = metrics["kilter_peak_resident_memory_bytes",]
    assert peak >= 0.95 * metrics["process_resident_memory_bytes",] > 10e6


def test_memory_is_not_a_number_where_the_system_does_not_tell(tmp_path: Path) -> None:
    assert peak_memory(tmp_path / "absent") != peak_memory(tmp_path / "absent")


def test_a_folder_to_count_in_that_the_environment_names_and_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    program = """
from kilter.serving.metrics import ServerMetrics
from kilter.serving.prediction_log import NoLog
metrics = ServerMetrics(NoLog())
metrics.answered("m", 3, 0.001)
assert b'kilter_requests_total{model="m",version="3"} 1.0' in metrics.text([])
"""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "gone")}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


def test_a_copy_is_answered_with_its_seconds_and_score_and_counts_for_nothing(client: Client) -> None:
    assert client.ask("/models/m/copies", query=b"after=0")[0] == 200
    body = json.dumps({"dataframe_records": [{"x": 0.25}]}).encode()
    status, headers, _ = client.ask("/models/m/invocations", body, "POST", copy=True)
    assert (status, float(headers[b"x-kilter-score"])) == (200, 0.5)
    assert 0 < float(headers[b"x-kilter-seconds"]) < 10
    assert client.ask("/models/m/invocations", b"nonsense", "POST", copy=True)[0] == 400
    assert client.model.requests == 0
    assert json.loads(client.ask("/models/m/copies", query=b"after=0")[2]) == {"kept": 0, "copies": []}
    assert not [name for name in client.metrics() if name[0] == "kilter_requests_total"]
    status, headers, _ = client.ask("/models/m/invocations", body, "POST")
    assert b"x-kilter-score" not in headers
    assert client.model.requests == 1
    assert json.loads(client.ask("/models/m/copies", query=b"after=0")[2])["kept"] == 1


@pytest.mark.parametrize(("role", "later"), [("canary", 503), ("champion", 200)])
def test_a_canary_that_nobody_watches_from_its_loading_on_wants_no_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: Role, later: int
) -> None:
    now = [0.0]
    monkeypatch.setattr(models_module.time, "monotonic", lambda: now[0])
    client = Client(tmp_path, role)
    for _ in range(2):
        now[0] += WATCHED_SECONDS
        assert client.ask("/models/m/available")[0] == 200
        now[0] += 1
        assert client.ask("/models/m/available")[0] == later
        assert client.ask("/models/m/ready")[0] == 200, "it could answer, and does where nobody else can"
        client.ask("/models/m/answers", query=b"after=0")
