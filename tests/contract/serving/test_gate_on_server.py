"""The gate's checks of a server, on real servers: a good one, and one for each fault."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from kilter.core.verdict import Judgement, Verdict
from kilter.holdout import ROWS_FILE, SCORES_FILE, Facts
from kilter.keys import interval_key
from kilter.settings import Settings
from kilter.spec import Gate, ModelSpec, ServingFitness, load_spec
from kilter.step import StepContext, Stores, load_step, parse_inputs
from kilter.stores.features import CREATED, FeatureStore
from kilter.stores.intervals import record_interval
from kilter.stores.objects import FileObjects, commit_dataset
from kilter.stores.parquet import frame_to_parquet

from .conftest import MODEL, SPEC, free_ports, make_model, wait_until

START = datetime(2013, 1, 1, tzinfo=UTC)
END = START + timedelta(days=3)
SCRIPT = Path(__file__).with_name("faulty_server.py")
VERSION = 3


class Candidate:
    """A candidate with its holdout, its features offline and online, and ways to serve and check it."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings.from_environment({"KILTER_HOME": str(home), "KILTER_MODELS": str(SPEC.parent)})
        self.objects = FileObjects(home / "store")
        self.spec = _quick(load_spec(SPEC))
        self.model = make_model(self.objects, self.spec, 1)
        self.rows = _rows(self.spec, 300)
        self.holdout = self._commit_holdout()
        self.features = FeatureStore(self.spec, self.objects, self.settings.feast_registry, self.settings.online_store)

    def put_online(self) -> None:
        """Build and materialise one interval."""
        features = self.rows.drop(columns=self.spec.label.column).assign(**{CREATED: self.rows[self.spec.timestamp]})
        self.objects.put(interval_key("features", MODEL, START), frame_to_parquet(features))
        record_interval(self.objects, MODEL, START, END)
        self.features.materialize(END - self.spec.features.online, END)

    def spoil_online(self, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        """Put other values online than offline."""
        key = interval_key("features", MODEL, START)
        good = self.objects.get(key)
        self.objects.put(key, frame_to_parquet(change(pd.read_parquet(self.settings.home / "store" / key))))
        self.features.materialize(END - self.spec.features.online, END)
        self.objects.put(key, good)

    @contextmanager
    def server(self, fault: str = "none") -> Iterator[str]:
        """The base URL of a server that holds the candidate."""
        (port,) = free_ports(1)
        url = f"http://127.0.0.1:{port}"
        held = f"{MODEL}:{VERSION}:{self.model.digest}"
        command = [sys.executable, str(SCRIPT), fault, "serve", "--role", "canary", "--hold", held, "--port", str(port)]
        with (self.settings.home / f"{fault}.log").open("wb") as log:
            process = subprocess.Popen(command, env=os.environ | self.settings.to_environment(), stdout=log, stderr=log)
        try:
            wait_until(lambda: _answers(url), "the server answers")
            yield url
        finally:
            process.kill()
            process.wait()

    def check(self, name: str, endpoint: str) -> Judgement:
        """Run a check's step."""
        module = load_step(f"check_{name}")
        context = StepContext(self.spec, SPEC, Stores(self.settings, self.spec), module.STEP)
        judgement: Judgement = module.run(
            parse_inputs(f"check_{name}", {"holdout": self.holdout, "endpoint": endpoint}), context
        ).judgement
        assert judgement.name == name
        return judgement

    def _commit_holdout(self) -> str:
        times = self.rows[self.spec.timestamp]
        facts = Facts(
            version=VERSION,
            model=self.model.key,
            digest=self.model.digest,
            snapshot="snapshots/none",
            champion=None,
            as_of=END,
            start=times.min(),
            end=times.max(),
            rows=len(self.rows),
            new_rows=0,
            prior=0.5,
            unseen_from=None,
        )
        scores = pd.DataFrame({"candidate": 0.5, "champion": np.nan}, index=self.rows.index)
        files = {ROWS_FILE: frame_to_parquet(self.rows), SCORES_FILE: frame_to_parquet(scores)}
        return commit_dataset(self.objects, f"holdouts/{MODEL}", files, facts.model_dump(mode="json")).key


def _quick(spec: ModelSpec) -> ModelSpec:
    """Two seconds of load, and a bound that a busy machine keeps and a server that takes 50 ms a row does not."""
    fitness = ServingFitness(
        rate=60, duration=timedelta(seconds=2), p99=timedelta(milliseconds=500), ready_within=timedelta(seconds=60)
    )
    gate: Gate = spec.gate.model_copy(update={"serving_fitness": fitness})
    return spec.model_copy(update={"gate": gate})


def _rows(spec: ModelSpec, count: int) -> pd.DataFrame:
    """Rows of the last day before END with every feature set, but one number in ten missing."""
    random = np.random.default_rng(5)
    times = pd.date_range(END - timedelta(days=1), periods=count, freq=timedelta(days=1) / count)
    frame = pd.DataFrame({spec.entity: [f"flight-{place}" for place in range(count)], spec.timestamp: times})
    for feature in spec.features.columns:
        if feature.categories:
            frame[feature.name] = random.choice(feature.categories, count)
        else:
            frame[feature.name] = np.where(random.random(count) < 0.1, np.nan, random.random(count))
    return frame.assign(**{spec.label.column: random.integers(0, 2, count)})


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ping").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """A candidate whose features are online."""
    made = Candidate(tmp_path_factory.mktemp("candidate"))
    made.put_online()
    return made


@pytest.fixture(scope="module")
def good(online: Candidate) -> Iterator[str]:
    with online.server() as url:
        yield url


def figure(judgement: Judgement, label: str) -> Any:
    """The measured number of that label."""
    return next(item for item in judgement.measured if item.label == label)


def test_a_good_server_is_fit(online: Candidate, good: str) -> None:
    judged = online.check("serving_fitness", good)
    assert judged.verdict is Verdict.PASSED, judged.reason
    assert judged.figures["answered"] == 120
    assert 0 < figure(judged, "ready after").value < 60
    assert 50 < figure(judged, "peak memory").value < 512
    assert len(judged.figures["malformed"]) >= 10
    assert set(judged.figures["malformed"].values()) == {400}


def test_a_good_server_agrees_with_training_code_and_online_store(online: Candidate, good: str) -> None:
    judged = online.check("prediction_parity", good)
    assert judged.verdict is Verdict.PASSED, judged.reason
    assert (judged.figures["online"]["rows"], judged.figures["served"]["rows"]) == (200, 200)
    assert judged.figures["online"]["newer"] == 0


def test_50_ms_a_prediction_fail_for_their_p99(online: Candidate) -> None:
    with online.server("slow") as url:
        judged = online.check("serving_fitness", url)
    assert judged.verdict is Verdict.FAILED
    # 20 of the 60 requests a second are answered, so that the last ones wait for seconds: a client that waited
    # for each answer would have seen 50 ms.
    assert figure(judged, "p99").value > 1500
    assert judged.reason.startswith("p99")


def test_features_in_another_order_at_serving_fail_and_are_named(online: Candidate) -> None:
    with online.server("reordered") as url:
        judged = online.check("prediction_parity", url)
    assert judged.verdict is Verdict.FAILED
    assert "first difference served: flight-" in judged.reason
    first, second = online.spec.features.names[:2]
    assert f"the server handles {first} and {second} otherwise" in judged.reason


@pytest.mark.parametrize(("fault", "cause"), [("beyond_one", "not in [0, 1]"), ("too_few", "got 1 of them for 100")])
def test_answers_that_are_not_as_declared_fail_and_are_told(online: Candidate, fault: str, cause: str) -> None:
    with online.server(fault) as url:
        judged = online.check("serving_fitness", url)
    assert judged.verdict is Verdict.FAILED
    assert cause in judged.reason


def test_a_server_that_dies_under_load_fails_and_says_when(online: Candidate) -> None:
    with online.server("mortal") as url:
        judged = online.check("serving_fitness", url)
    assert judged.verdict is Verdict.FAILED
    assert "ended while it was sent 60 requests/s, under a memory limit of 512m" in judged.reason


def test_nobody_there_is_unfit_and_no_parity_can_be_measured(online: Candidate) -> None:
    fitness = online.spec.gate.serving_fitness.model_copy(update={"ready_within": timedelta(milliseconds=300)})
    gate = online.spec.gate.model_copy(update={"serving_fitness": fitness})
    patient, online.spec = online.spec, online.spec.model_copy(update={"gate": gate})
    try:
        (port,) = free_ports(1)
        unfit = online.check("serving_fitness", f"http://127.0.0.1:{port}")
        unknown = online.check("prediction_parity", f"http://127.0.0.1:{port}")
    finally:
        online.spec = patient
    assert unfit.verdict is Verdict.FAILED
    assert "not ready within 0.3 s under a memory limit of 512m" in unfit.reason
    assert unknown.verdict is Verdict.ERROR
    assert "could not be asked (not ready" in unknown.reason


def test_without_anything_online_parity_is_inconclusive_and_names_the_cure(tmp_path: Path) -> None:
    candidate = Candidate(tmp_path)
    with candidate.server() as url:
        judged = candidate.check("prediction_parity", url)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "run feature_ingestion" in judged.reason


def test_a_value_that_differs_online_fails_and_is_shown(tmp_path: Path) -> None:
    candidate = Candidate(tmp_path)
    candidate.put_online()
    candidate.spoil_online(lambda frame: frame.assign(humidity=frame.humidity.fillna(0) + 1))
    with candidate.server() as url:
        judged = candidate.check("prediction_parity", url)
    assert judged.verdict is Verdict.FAILED
    first = judged.figures["online"]["first"]
    assert first["column"] == "humidity"
    assert first["online"] == pytest.approx((first["offline"] or 0) + 1)
    assert f"humidity is {first['online']!r}, offline {first['offline']!r}" in judged.reason
    assert figure(judged, "rows that differ online").value == 200


def test_entities_that_moved_on_online_are_left_out_and_counted(tmp_path: Path) -> None:
    candidate = Candidate(tmp_path)
    candidate.put_online()

    def move_on(frame: pd.DataFrame) -> pd.DataFrame:
        later = frame.index % 2 == 0
        times = frame[candidate.spec.timestamp]
        moved = times.where(~later, END - timedelta(seconds=1))
        return frame.assign(
            **{candidate.spec.timestamp: moved, CREATED: moved}, wind_speed=frame.wind_speed.mask(later, 9.0)
        )

    candidate.spoil_online(move_on)
    with candidate.server() as url:
        judged = candidate.check("prediction_parity", url)
    assert judged.verdict is Verdict.PASSED, judged.reason
    assert 50 < judged.figures["online"]["newer"] < 150
