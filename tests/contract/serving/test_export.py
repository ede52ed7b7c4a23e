"""Exported models where there are numpy and onnxruntime and nothing of Kilter: they score as the model server does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.unit.kilter.export.versions import export_of, graph_of

from kilter.__main__ import main
from kilter.encoding import Signature
from kilter.export.folder import write_folder
from kilter.spec import ModelSpec, load_spec
from kilter.stores.objects import FileObjects, Manifest, commit_dataset
from kilter.stores.parquet import frame_to_parquet
from kilter.stores.registry import MlflowRegistry, PipelineRun

from .candidate import rows_of
from .conftest import MODEL, OTHER, ROW, Installation, make_model, split, write_spec

PINNED = Path(__file__).parents[3] / "requirements.txt"
NETWORK = "network_"
MODELS = {
    MODEL: "",
    "multiclass": "multiclass",
    "regression": "regression",
    OTHER: "",
    f"{NETWORK}multiclass": "multiclass",
    f"{NETWORK}regression": "regression",
}
"""Names of models, and the task that makes them differ from the flights' spec."""
ROWS = [
    ROW,
    ROW | {"hour": 3, "carrier": None},
    ROW | {"origin": "LGA", "carrier": "a carrier founded since", "distance": 0.1},
    ROW | {"origin": "", "wind_speed": None, "hour": 0},
    dict.fromkeys(ROW),
]


class Away:
    """A folder for exports and an environment to try them in."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._environment = home / "environment"
        pins = [line for line in PINNED.read_text().splitlines() if line.startswith(("numpy==", "onnxruntime=="))]
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self._environment], check=True)
        command = [sys.executable, "-m", "pip", "--python", self._environment, "install", "-qq", *pins]
        self._log = home / "pip.log"
        with self._log.open("wb") as log:
            # Goes on while the servers start.
            self._installing = subprocess.Popen(command, stdout=log, stderr=log)

    def python(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run that environment's Python, isolated from this one."""
        assert self._installing.wait() == 0, self._log.read_text()
        command = [self._environment / "bin/python", "-I", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd="/", env={})

    def scores(self, folder: Path) -> Any:
        """What the folder's example prints."""
        ended = self.python(folder / "example.py")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Away:
    return Away(tmp_path_factory.mktemp("away"))


@pytest.fixture(scope="module")
def installation(away: Away, mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A champion server that holds every model, each of them registered as the champion."""
    made = Installation(tmp_path_factory.mktemp("installation"))
    made.settings = made.settings.model_copy(update={"mlflow": mlflow_url})
    for name, task in MODELS.items():
        if task:
            write_spec(made.settings.models, name, task)
    try:
        made.start_server("champion")
        made.wait_for_server("champion")
        for name in MODELS:
            hold(made, load_spec(made.settings.models / name))
        yield made
    finally:
        made.stop()


def hold(installation: Installation, spec: ModelSpec) -> None:
    """Make a model, register it, and have it served as the champion."""
    network = spec.name == OTHER or spec.name.startswith(NETWORK)
    model = (make_network if network else make_booster)(installation.objects, spec)
    test = frame_to_parquet(rows_of(spec, 300))
    snapshot = commit_dataset(installation.objects, f"snapshots/{spec.name}", {"test.parquet": test})
    registry = MlflowRegistry(installation.settings.mlflow)
    made = {"key": model.key, "digest": model.digest, "snapshot": snapshot.key, "evaluation": "none"}
    data = {"dataset": "file:///none", "dataset_digest": snapshot.digest, "dataset_rows": 300}
    told = {
        "name": "a run",
        "parameters": {},
        "metrics": {spec.evaluation.primary: 0.5},
        "tags": {"git_commit": "c0ffee"},
    }
    artifacts = installation.home / "artifacts"
    artifacts.mkdir(exist_ok=True)
    version = registry.register(PipelineRun(model=spec.name, **made, **data, **told), artifacts).version
    registry.set_alias(spec.name, "champion", version)
    installation.servers.deploy("champion", spec.name, version, model.key, model.digest)


def make_booster(objects: FileObjects, spec: ModelSpec) -> Manifest:
    return make_model(objects, spec, 1)


def make_network(objects: FileObjects, spec: ModelSpec) -> Manifest:
    signature = Signature.of(spec)
    data = graph_of(spec, width=len(signature.names))
    files = {"model.onnx": data, "signature.json": signature.model_dump_json().encode()}
    return commit_dataset(objects, f"models/{spec.name}", files, {"trainer": "torch"})


@pytest.fixture
def export(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command, with this installation's settings; gives its exit code."""
    for name, value in installation.settings.to_environment().items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: main(["export", *map(str, arguments)])


def served(installation: Installation, model: str, rows: list[dict[str, Any]]) -> Any:
    answer = httpx.post(f"{installation.settings.champion}/models/{model}/invocations", json=split(*rows))
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


@pytest.mark.parametrize("model", MODELS)
def test_the_example_scores_as_the_server_does(
    model: str, away: Away, installation: Installation, export: Callable[..., int]
) -> None:
    folder = away.home / f"the {model}"
    assert export(model, "--to", folder) == 0
    rows = json.loads((folder / "example.json").read_text())["rows"]
    np.testing.assert_allclose(away.scores(folder), served(installation, model, rows), rtol=2e-6)
    # And other rows, with texts that no category is, by the very same code.
    other = away.home / f"other rows of {model}"
    shutil.copytree(folder, other)
    expected = served(installation, model, ROWS)
    (other / "example.json").write_text(json.dumps({"rows": ROWS, "scores": expected}))
    np.testing.assert_allclose(away.scores(other), expected, rtol=2e-6)
    assert len(np.unique(np.array(expected), axis=0)) > 3


def test_there_is_no_kilter_where_it_was_tried(away: Away) -> None:
    ended = away.python("-c", "import kilter")
    assert "ModuleNotFoundError: No module named 'kilter'" in ended.stderr


def test_an_example_says_so_when_the_model_scores_otherwise(away: Away, export: Callable[..., int]) -> None:
    folder = away.home / "spoilt"
    assert export("regression", "--to", folder) == 0
    example = json.loads((folder / "example.json").read_text())
    example["scores"][0] += 1
    (folder / "example.json").write_text(json.dumps(example))
    ended = away.python(folder / "example.py")
    assert ended.returncode == 1
    assert "AssertionError" in ended.stderr


def test_trees_that_no_graph_is_made_of_are_scored_with_xgboost(tmp_path: Path) -> None:
    files = export_of("multiclass", booster="dart").files()
    write_folder(tmp_path / "dart", files)
    ended = subprocess.run([sys.executable, "-I", tmp_path / "dart/example.py"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    np.testing.assert_allclose(json.loads(ended.stdout), json.loads(files["example.json"])["scores"], rtol=1e-5)


def test_the_same_again_is_fine_and_another_model_there_is_refused(
    tmp_path: Path, export: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "m"
    assert export(MODEL, "--to", folder) == 0
    assert f"{MODEL} version 1 is in {folder}: model.onnx," in capsys.readouterr().out
    assert export(MODEL, "--version", 1, "--to", folder) == 0
    assert "was already in" in capsys.readouterr().out
    assert export("multiclass", "--to", folder) == 2
    assert "it holds something else, such as README.md" in capsys.readouterr().err


def test_a_version_that_there_is_not_and_a_model_without_a_champion_are_wrong_input(
    installation: Installation, tmp_path: Path, export: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(MODEL, "--version", 0, "--to", tmp_path / "m") == 2
    assert f"model '{MODEL}' has no version 0" in capsys.readouterr().err
    write_spec(installation.settings.models, "untrained", "regression")
    assert export("untrained", "--to", tmp_path / "m") == 2
    assert "model 'untrained' has no champion: name a version, or run" in capsys.readouterr().err
    assert export("unknown", "--to", tmp_path / "m") == 2
    assert "unknown" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
