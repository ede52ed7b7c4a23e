"""`kilter step train` with the torch trainer, as a process that is killed, that has company, and whose disk is full."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.contract.small_disk import small_disk

from kilter.stores.objects import FileObjects, commit_dataset, read_file, read_manifest
from kilter.stores.parquet import frame_to_parquet
from kilter.trainers.checkpoints import facts_of
from kilter.trainers.torch import ONNX_FILE, WEIGHTS_FILE

MODEL_YAML = """
name: prices
description: What a thing costs.
owner: tests
task: regression
entity: id
timestamp: at
label: {column: price, timestamp: known, delay: 1h}
schedule: {cron: "0 0 * * *", start: 2024-01-01T00:00:00Z}
source: {kind: files, tables: {things: {timestamp: at, path: things.parquet}}}
features:
  ttl: 1d
  online: 12h
  columns: [{name: x0}, {name: x1}, {name: x2}, {name: x3}, {name: kind, kind: categorical, categories: [a, b, c]}]
training:
  trainer: torch
  rounds: 8
  early_stopping: 8
  parameters: {width: 192, depth: 1, batch_rows: 256, learning_rate: 0.002}
evaluation: {metrics: [mae], block: 30m}
gate: {thresholds: {mae: 5}, against_champion: {allowed_regression: 1}}
drift: {allowed_decay: 1}
watch: {allowed_regression: 1}
"""
ROWS = 25_000


def things(count: int, seed: int = 1) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({f"x{place}": draw.random(count) for place in range(4)})
    frame["kind"] = draw.choice(["a", "b", "c"], count)
    return frame.assign(price=10 * frame.x0 * (frame.kind == "a") + 5 * frame.x1 + draw.normal(size=count))


class Installation:
    """A model's folder and a store with a snapshot; no MLflow answers."""

    def __init__(self, home: Path, rows: int = ROWS) -> None:
        self.objects = FileObjects(home / "store")
        self.folder = home / "models/prices"
        self.folder.mkdir(parents=True)
        (self.folder / "model.yaml").write_text(MODEL_YAML)
        files = {
            f"{part}.parquet": frame_to_parquet(things(rows, seed)) for seed, part in enumerate(("train", "validation"))
        }
        self.snapshot = commit_dataset(self.objects, "snapshots/prices", files).key
        addresses = {"HOME": home, "MODELS": home / "models", "MLFLOW": "http://127.0.0.1:9"}
        self.environment = os.environ | {f"KILTER_{name}": str(value) for name, value in addresses.items()}

    @property
    def arguments(self) -> list[str]:
        inputs = json.dumps({"snapshot": self.snapshot})
        return ["step", "train", "--model", "prices", "--inputs", inputs]

    def start(self, command: Sequence[str] = ("-m", "kilter")) -> subprocess.Popen[str]:
        whole = [sys.executable, *command, *self.arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(whole, env=self.environment, stdout=pipe, stderr=pipe, text=True)

    def train(self, command: Sequence[str] = ("-m", "kilter")) -> tuple[dict[str, Any], str]:
        """What equal trainings have in common of their outputs, and the log."""
        process = self.start(command)
        out, log = process.communicate(timeout=300)
        assert process.returncode == 0, log
        outputs = json.loads(out)["outputs"]
        assert outputs.pop("device")["names"]
        return outputs, log

    def files(self, outputs: dict[str, Any]) -> dict[str, bytes]:
        manifest = read_manifest(self.objects, outputs["model"])
        return {name: read_file(self.objects, manifest, name) for name in (ONNX_FILE, WEIGHTS_FILE)}

    def checkpoint(self) -> dict[str, Any] | None:
        keys = self.objects.list("checkpoints/")
        return facts_of(self.objects.get(keys[0]), keys[0]) if keys else None


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Installation, dict[str, Any], str]:
    installation = Installation(tmp_path_factory.mktemp("undisturbed"))
    return installation, *installation.train()


def test_a_training_that_is_killed_at_some_epoch_goes_on_from_there_and_ends_with_equal_bytes(
    tmp_path: Path, undisturbed: tuple[Installation, dict[str, Any], str]
) -> None:
    whole, outputs, _ = undisturbed
    killed = Installation(tmp_path)
    epoch = random.Random(os.environ.get("PYTEST_SEED", "kilter")).randint(1, 4)
    process = killed.start()
    deadline = time.monotonic() + 200
    while (found := killed.checkpoint()) is None or found["epoch"] < epoch:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    kept = killed.checkpoint()
    assert kept is not None
    again, log = killed.train()
    assert f"resumed at epoch {kept['epoch']} from a checkpoint" in log
    assert again == outputs
    assert killed.files(again) == whole.files(outputs)
    assert killed.objects.list("checkpoints/") == []


def test_a_training_tells_of_its_epochs_and_does_without_mlflow(
    undisturbed: tuple[Installation, dict[str, Any], str],
) -> None:
    _, outputs, log = undisturbed
    assert "epoch 7: mae" in log
    assert outputs["run_id"] == ""
    assert log.count("the loss curve is not shown while training, but with the registered model") <= 1


TOGETHER = ("-c", "import sys; from kilter.torchrun import launch; sys.exit(launch(sys.argv[1:], 2))")


@pytest.mark.slow
def test_two_processes_train_one_model_as_well_as_one_and_write_it_once(
    tmp_path: Path, undisturbed: tuple[Installation, dict[str, Any], str]
) -> None:
    whole, outputs, _ = undisturbed
    both = Installation(tmp_path)
    found, log = both.train(TOGETHER)
    assert len(both.objects.list("models/prices/")) == len(whole.objects.list("models/prices/")) == 4
    assert log.count("epoch 7: mae") == 1
    losses, alone = (
        read_manifest(home.objects, made["model"]).facts["losses"] for home, made in ((both, found), (whole, outputs))
    )
    assert min(losses) == pytest.approx(min(alone), rel=0.02)
    assert min(losses) < 0.9
    assert both.train(TOGETHER)[0] == found
    assert both.objects.list("checkpoints/") == []


def test_a_last_batch_of_fewer_rows_than_processes_is_learned_by_the_others(tmp_path: Path) -> None:
    both = Installation(tmp_path, rows=513)
    found, _ = both.train(TOGETHER)
    assert found["rounds"] > 0


def test_what_is_wrong_in_company_is_told_as_if_alone(tmp_path: Path) -> None:
    both = Installation(tmp_path, rows=500)
    path = both.objects.root / both.snapshot / "train.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    process = both.start(TOGETHER)
    _, log = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "was altered" in log


def test_a_full_disk_for_checkpoints_costs_no_training_and_leaves_no_part_of_one(
    tmp_path: Path, undisturbed: tuple[Installation, dict[str, Any], str]
) -> None:
    _, outputs, _ = undisturbed
    full = Installation(tmp_path)
    with small_disk(tmp_path / "store/checkpoints"):
        found, log = full.train()
        assert [path for path in (tmp_path / "store/checkpoints").rglob("*") if path.is_file()] == []
    assert log.count("no checkpoint, so that a kill would cost the epochs since the last one") == 1
    assert "No space left on device" in log
    assert found == outputs


def test_a_full_disk_for_the_model_is_a_fault_that_a_retry_may_cure(tmp_path: Path) -> None:
    full = Installation(tmp_path, rows=500)
    with small_disk(tmp_path / "store/models"):
        process = full.start()
        _, log = process.communicate(timeout=300)
        assert process.returncode == 75
        assert "UnavailableError: file://" in log
        assert "cannot be written" in log
        assert "No space left on device: make room" in log
        assert full.objects.list("models/prices/") == [] or "manifest.json" not in str(full.objects.list("models/"))


MEASURE = """
import sys
import kilter.trainers.normalisation as normalisation
import kilter.trainers.windows as windows
from kilter.encoding import Signature
from kilter.spec import Feature, Training
from kilter.stores.training_rows import ParquetRows
from kilter.trainers import TrainingRun
from kilter.trainers.torch import train

windows.MOST_BYTES, normalisation.SAMPLE_ROWS = 8 * 2**20, 10_000
signature = Signature(
    entity="id", timestamp="at", features=tuple(Feature(name=f"x{place}") for place in range(40)), task="regression"
)
training = Training(trainer="torch", rounds=1, parameters={"width": 8, "depth": 1, "bins": 1, "batch_rows": 8192})
with open(sys.argv[1], "rb") as file, open(sys.argv[2], "rb") as other:
    rows, validation = (ParquetRows(part, signature, "y", "a file") for part in (file, other))
    train(rows, validation, TrainingRun(signature, training, "mae"))
# Not ru_maxrss, which begins with the peak of the process that started this one.
print(next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def wide(path: Path, rows: int) -> Path:
    draw = np.random.default_rng(rows)
    frame = pd.DataFrame(draw.random((rows, 40), dtype=np.float32), columns=[f"x{place}" for place in range(40)])
    path.write_bytes(frame_to_parquet(frame.assign(y=frame.x0 + frame.x1)))
    return path


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """900,000 rows are 144 MB when encoded; 8 MB of them are held at once, beside one row group."""
    validation = wide(tmp_path / "validation", 5_000)
    peaks = [
        float(
            subprocess.run(
                [sys.executable, "-c", MEASURE, str(wide(tmp_path / "train", rows)), str(validation)],
                check=True,
                capture_output=True,
                text=True,
                # What is freed goes back at once, so that the peak is of what is held.
                env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "262144"},
            ).stdout
        )
        for rows in (150_000, 900_000)
    ]
    assert peaks[1] - peaks[0] < 30, peaks
