"""A model of the torch trainer on a real model server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from kilter.encoding import Signature, encode
from kilter.spec import Training, load_spec
from kilter.stores.models import load_model, save_model
from kilter.trainers import Loss, Part, TrainingRun
from kilter.trainers.torch import train

from .conftest import MODEL, ROW, TASKS, Installation, split, wait_until, write_spec

ROWS = [ROW, ROW | {"hour": 3, "carrier": None}, dict.fromkeys(ROW), ROW | {"distance": 1e9, "origin": "LGA"}]
LOSSES: dict[str, Loss] = {"multiclass": "log_loss", "regression": "rmse", MODEL: "log_loss"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A champion's server, without HAProxy, that knows a model of each task."""
    made = Installation(tmp_path_factory.mktemp("torch"))
    for task in TASKS:
        write_spec(made.settings.models, task, task)
    try:
        made.start_server("champion")
        made.wait_for_server("champion")
        yield made
    finally:
        made.stop()


def rows_of(signature: Signature, count: int) -> np.ndarray[Any, Any]:
    draw = np.random.default_rng(5)
    columns = [
        draw.integers(0, len(feature.categories), count) if feature.categories else draw.random(count)
        for feature in signature.features
    ]
    return np.column_stack(columns).astype(np.float32)


@pytest.mark.parametrize("name", LOSSES)
def test_the_server_answers_what_the_network_says(server: Installation, name: str) -> None:
    spec = load_spec(server.settings.models / name)
    signature = Signature.of(spec)
    rows = rows_of(signature, 400)
    labels = {"multiclass": rows[:, 2], "regression": 500 + 100 * rows[:, 0], "binary": rows[:, 0] > 0.5}[spec.task]
    part = Part(rows, labels.astype(float))
    training = Training(trainer="torch", rounds=3, parameters={"width": 16, "batch_rows": 50})
    trained = train(part, part, TrainingRun(signature, training, LOSSES[name]))
    saved = save_model(server.objects, name, trained, signature, {"trainer": "torch", "loss": LOSSES[name]})
    server.servers.deploy("champion", name, 1, saved.key, saved.digest)
    with httpx.Client(base_url=server.settings.champion) as client:
        wait_until(lambda: client.get(f"/models/{name}/ready").status_code == 200, "the server holds it")
        answer = client.post(f"/models/{name}/invocations", json=split(*ROWS)).json()
    expected = load_model(server.objects, saved.key).predictor.predict(
        encode({feature: [row[feature] for row in ROWS] for feature in ROW}, signature)
    )
    assert np.array(answer["predictions"]) == pytest.approx(expected, rel=1e-6)
    assert answer["model_version"] == 1


def test_what_the_server_holds_is_a_graph_alone(server: Installation, tmp_path: Path) -> None:
    log = server.log("champion")
    assert '"predictor": "onnxruntime"' in log
