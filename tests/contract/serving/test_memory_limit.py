"""The trial container's memory limit: a small model is fit under it, a huge one is refused, and no task is red."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import xgboost
from airflow.sdk import Context

from kilter.core.verdict import Verdict
from kilter.encoding import Signature
from kilter.spec import ModelSpec, load_spec
from kilter.step import RunInfo
from kilter.stores.objects import FileObjects, Manifest, commit_dataset
from kilter_airflow import serving
from kilter_airflow.runtimes.docker import connect
from kilter_airflow.serving import ContainerServer, StartServerOperator, StopServerOperator
from kilter_airflow.settings import RuntimeSettings

from .candidate import VERSION, Candidate
from .conftest import MODEL, SPEC

pytestmark = pytest.mark.engine
LIMIT = "256m"
FITNESS = f"serving_fitness: {{p99: 1s, memory: {LIMIT}, ready_within: 10s, rate: 200, duration: 2s}}"
TREES = 150
RUN = RunInfo(dag_id="d", run_id="memory", task_id="start_server")


def memory_hog(objects: FileObjects, spec: ModelSpec) -> Manifest:
    """A model of 46 MB: one tree grown on random labels until it knew them by heart, many times over."""
    signature = Signature.of(spec)
    random = np.random.default_rng(0)
    data = xgboost.DMatrix(random.random((30_000, len(signature.names))), label=random.integers(0, 2, 30_000))
    parameters = {"objective": "binary:logistic", "max_depth": 30, "min_child_weight": 0, "reg_lambda": 0}
    booster = xgboost.train({**parameters, "nthread": 2}, data, 1)
    content = json.loads(bytes(booster.save_raw("json")))
    model = content["learner"]["gradient_booster"]["model"]
    model["trees"] = [model["trees"][0] | {"id": number} for number in range(TREES)]
    model["tree_info"] = [0] * TREES
    model["iteration_indptr"] = list(range(TREES + 1))
    model["gbtree_model_param"]["num_trees"] = str(TREES)
    huge = xgboost.Booster()
    huge.load_model(bytearray(json.dumps(content).encode()))
    files = {"model.ubj": bytes(huge.save_raw("ubj")), "signature.json": signature.model_dump_json().encode()}
    return commit_dataset(objects, f"models/{spec.name}", files, {"trainer": "xgboost"})


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models' folder, with the limit in model.yaml."""
    folder = tmp_path / "limited"
    shutil.copytree(SPEC, folder / MODEL)
    text = (SPEC / "model.yaml").read_text()
    assert "serving_fitness: {p99: 1s}" in text
    (folder / MODEL / "model.yaml").write_text(text.replace("serving_fitness: {p99: 1s}", FITNESS))
    monkeypatch.setenv("KILTER_HOME", str(tmp_path))
    monkeypatch.setenv("KILTER_MODELS", str(folder))
    monkeypatch.setenv("KILTER_RUNTIME", "docker")
    return folder


@pytest.fixture
def context() -> Iterator[Context]:
    """An Airflow context with just the names of the run; its server is gone afterwards."""
    made = cast(Context, {"ti": SimpleNamespace(dag_id=RUN.dag_id, run_id=RUN.run_id)})
    yield made
    StopServerOperator(task_id="stop_server", server="start_server").execute(made)


def start(candidate: Candidate, context: Context, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the task `start_server`; returns the address."""
    monkeypatch.setattr(serving, "_held", lambda *names: candidate.held)
    return StartServerOperator(task_id="start_server", model=MODEL, version=VERSION).execute(context)


def test_a_small_model_is_fit_under_the_limit(
    tmp_path: Path, models: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = Candidate(tmp_path)
    candidate.spec = load_spec(models / MODEL)
    judged = candidate.check("serving_fitness", start(candidate, context, monkeypatch))
    assert judged.verdict is Verdict.PASSED, judged.reason


def test_a_model_that_takes_more_memory_to_load_is_refused_and_the_limit_named(
    tmp_path: Path, models: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = Candidate(tmp_path, memory_hog)
    candidate.spec = load_spec(models / MODEL)
    endpoint = start(candidate, context, monkeypatch)
    server = ContainerServer(connect(), RuntimeSettings.from_environment(os.environ), RUN)
    assert server.out_of_memory()
    judged = candidate.check("serving_fitness", endpoint)
    assert judged.verdict is Verdict.FAILED
    assert f"has ended, as a server does that takes more than its limit of {LIMIT} of memory" in judged.reason
