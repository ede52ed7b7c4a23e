"""A killed batch scoring, and two at once, as real processes: the same bytes, and never half of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kilter.batch_scoring import ROWS_A_PART
from kilter.encoding import Signature
from kilter.keys import interval_key
from kilter.spec import load_spec
from kilter.stores.models import save_model
from kilter.stores.objects import FileObjects
from kilter.stores.parquet import frame_to_parquet
from kilter.trainers import Part, TrainingRun, trainer

MODELS = Path(__file__).parents[2] / "include/models"
SPEC = load_spec(MODELS / "flight_delay")
START = datetime(2013, 1, 1, tzinfo=UTC)
ENTITIES = 2000
ROWS = 2 * ROWS_A_PART


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with features, a model, and a table of two parts."""
    home = tmp_path_factory.mktemp("home")
    objects, random = FileObjects(home / "store"), np.random.default_rng(0)
    names = np.array([f"f{place}" for place in range(ENTITIES)])
    features = pd.DataFrame({SPEC.entity: names, SPEC.timestamp: START, "created": START})
    for feature in SPEC.features.columns:
        features[feature.name] = (
            random.choice(feature.categories, ENTITIES) if feature.categories else random.normal(size=ENTITIES)
        )
    objects.put(interval_key("features", SPEC.name, START), frame_to_parquet(features))
    times = START + pd.to_timedelta(random.integers(0, 20 * 3600, ROWS), unit="s")
    table = pd.DataFrame({SPEC.entity: random.choice(names, ROWS), SPEC.timestamp: times})
    objects.put("tables/a.parquet", frame_to_parquet(table))
    return home


@pytest.fixture(scope="module")
def inputs(home: Path) -> str:
    random = np.random.default_rng(1)
    rows = random.integers(0, 2, (500, len(SPEC.features.names))).astype(np.float32)
    part = Part(rows, (rows[:, 0] > 0.5).astype(np.float64))
    signature = Signature.of(SPEC)
    training = SPEC.training.model_copy(update={"rounds": 10})
    trained = trainer("xgboost").train(part, part, TrainingRun(signature, training, "log_loss"))
    saved = save_model(FileObjects(home / "store"), SPEC.name, trained, signature, {"trainer": "xgboost"})
    given = {"table": "t", "partition": "tables/a.parquet", "version": 1, "model": saved.key, "snapshot": "s"}
    return json.dumps(given | {"again": True})


def begin(home: Path, inputs: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "kilter", "step", "score_partition", "--model", SPEC.name, "--inputs", inputs],
        env={**os.environ, "KILTER_HOME": str(home), "KILTER_MODELS": str(MODELS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> None:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output


def scores(home: Path) -> dict[str, bytes]:
    objects = FileObjects(home / "store")
    return {key.rpartition("/")[2]: objects.get(key) for key in objects.list("scores/")}


def wait_for_a_part(process: subprocess.Popen[str], home: Path) -> None:
    deadline = time.monotonic() + 200
    while not scores(home):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_half_way_and_run_again_it_gives_the_bytes_of_an_undisturbed_run_and_so_do_two_at_once(
    home: Path, inputs: str
) -> None:
    killed = begin(home, inputs)
    wait_for_a_part(killed, home)
    killed.kill()
    killed.communicate()
    left = scores(home)
    assert "manifest.json" not in left
    assert len(left) == 1

    end(begin(home, inputs))
    resumed = scores(home)
    assert resumed.keys() == {"manifest.json", *(f"part-0000{place}.parquet" for place in range(2))}
    assert all(resumed[name] == data for name, data in left.items())

    for path in (home / "store/scores").rglob("*.*"):
        path.unlink()
    both = [begin(home, inputs), begin(home, inputs)]
    for process in both:
        end(process)
    assert scores(home) == resumed
