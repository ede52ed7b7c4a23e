"""What a trial server does, in a container and in a plain process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import xgboost

from kilter.encoding import Signature
from kilter.spec import load_spec
from kilter.step import RunInfo
from kilter.stores.objects import FileObjects, commit_dataset
from kilter_airflow.runtimes.docker import connect
from kilter_airflow.serving import ContainerServer, ProcessServer
from kilter_airflow.settings import RuntimeSettings

MODELS = Path(__file__).parents[2] / "include/models"
MODEL = "flight_delay"
Server = ContainerServer | ProcessServer


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RuntimeSettings:
    monkeypatch.setenv("KILTER_MODELS", str(MODELS))
    return RuntimeSettings.from_environment({"KILTER_HOME": str(tmp_path), "KILTER_MODELS": str(MODELS)})


@pytest.fixture(params=["process", pytest.param("container", marks=pytest.mark.engine)])
def server(request: pytest.FixtureRequest, settings: RuntimeSettings) -> Iterator[Server]:
    made: Server = ProcessServer(settings, "server-test")
    if request.param == "container":
        made = ContainerServer(connect(), settings, RunInfo(dag_id="d", run_id="r", task_id="start_server"))
    yield made
    made.remove()


@pytest.fixture
def held(settings: RuntimeSettings) -> str:
    """A small model in the store, as the server is told to hold it."""
    spec = load_spec(MODELS / MODEL)
    signature = Signature.of(spec)
    rows = np.random.default_rng(1).random((100, len(signature.names)), dtype=np.float32)
    data = xgboost.DMatrix(rows, label=np.arange(100) % 2, feature_names=list(signature.names))
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 3)
    files = {"model.ubj": bytes(booster.save_raw("ubj")), "signature.json": signature.model_dump_json().encode()}
    manifest = commit_dataset(FileObjects(settings.stores.home / "store"), f"models/{MODEL}", files)
    return f"{MODEL}:7:{manifest.digest}"


def answer(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """The first answer with status 200."""
    deadline = time.monotonic() + 60
    while True:
        try:
            if (found := ask()).status_code == 200:
                return found
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_answers_with_the_version_it_was_told_to_hold(server: Server, held: str) -> None:
    address = server.start(MODEL, held)
    ready = answer(lambda: httpx.get(f"{address}/models/{MODEL}/ready")).json()
    assert f"{ready['model']}:{ready['version']}:{ready['digest']}" == held
    assert not server.ended()


def test_it_leaves_no_trace_in_the_store(server: Server, held: str, settings: RuntimeSettings) -> None:
    objects = FileObjects(settings.stores.home / "store")
    before = objects.list("")
    address = server.start(MODEL, held)
    answer(lambda: httpx.get(f"{address}/models/{MODEL}/ready"))
    body = {
        "dataframe_records": [
            {
                "origin": "JFK",
                **{name: 1 for name in load_spec(MODELS / MODEL).features.names if name not in ("origin", "carrier")},
                "carrier": "AA",
            }
        ]
    }
    answer(lambda: httpx.post(f"{address}/models/{MODEL}/invocations", json=body))
    server.remove()
    assert objects.list("") == before


def test_removed_it_is_gone_and_removing_it_again_is_fine(server: Server, held: str) -> None:
    address = server.start(MODEL, held)
    answer(lambda: httpx.get(f"{address}/ping"))
    assert any("model server listens" in line for line in server.last_lines())
    server.remove()
    server.remove()
    assert server.ended()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{address}/ping")


def test_one_that_cannot_load_its_version_says_so_instead_of_being_ready(server: Server, held: str) -> None:
    address = server.start(MODEL, held[:-4] + "beef")
    answer(lambda: httpx.get(f"{address}/ping"))
    refused = httpx.get(f"{address}/models/{MODEL}/ready")
    assert refused.status_code == 503
    assert "never committed" in refused.json()["error"]


@pytest.mark.engine
def test_its_container_is_hardened_and_may_only_read_the_store(settings: RuntimeSettings, held: str) -> None:
    import docker

    run = RunInfo(dag_id="d", run_id="hardened", task_id="start_server")
    server = ContainerServer(connect(), settings, run)
    try:
        server.start(MODEL, held)
        labels = [f"kilter.home={settings.stores.home}", "kilter.run_id=hardened", f"kilter.server={MODEL}"]
        (container,) = docker.from_env().containers.list(filters={"label": labels})
        host = container.attrs["HostConfig"]
        assert container.attrs["Config"]["User"] == settings.step_user
        assert (host["ReadonlyRootfs"], host["CapDrop"], host["Privileged"]) == (True, ["ALL"], False)
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        ((source, writable),) = [(mount["Source"], mount["RW"]) for mount in container.attrs["Mounts"]]
        assert (source, writable) == (str(settings.stores.home / "store"), False)
    finally:
        server.remove()
