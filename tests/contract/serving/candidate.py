"""A candidate with all that the gate's checks of a server need, and servers to hold it."""

from __future__ import annotations

import os
import shutil
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

from kilter.core.verdict import Judgement
from kilter.holdout import ROWS_FILE, SCORES_FILE, Facts
from kilter.keys import interval_key
from kilter.settings import Settings
from kilter.spec import Gate, ModelSpec, ServingFitness, load_spec
from kilter.step import StepContext, Stores, load_step, parse_inputs
from kilter.stores.features import CREATED, FeatureStore
from kilter.stores.intervals import Record, record_interval
from kilter.stores.objects import FileObjects, Manifest, commit_dataset
from kilter.stores.parquet import frame_to_parquet

from .conftest import MODEL, SPEC, free_ports, make_model, wait_until, write_spec

START = datetime(2013, 1, 1, tzinfo=UTC)
END = START + timedelta(days=3)
SCRIPT = Path(__file__).with_name("faulty_server.py")
VERSION = 3


def _small(objects: FileObjects, spec: ModelSpec) -> Manifest:
    return make_model(objects, spec, 1)


class Candidate:
    """A candidate with its holdout, its features offline and online, and ways to serve and check it.

    Args:
        serving: a section for its spec.
        task: one of `TASKS`, in place of the flights' own.
    """

    def __init__(
        self,
        home: Path,
        model: Callable[[FileObjects, ModelSpec], Manifest] = _small,
        serving: str = "",
        task: str = "",
    ) -> None:
        models = home / "models"
        shutil.copytree(SPEC, models / MODEL)
        if task:
            write_spec(models, MODEL, task)
        with (models / MODEL / "model.yaml").open("a") as file:
            file.write(f"\n{serving}\n")
        self.settings = Settings.from_environment({"KILTER_HOME": str(home), "KILTER_MODELS": str(models)})
        self.objects = FileObjects(home / "store")
        self.spec = _quick(load_spec(models / MODEL))
        self.model = model(self.objects, self.spec)
        self.rows = rows_of(self.spec, 300)
        self.holdout = self._commit_holdout()
        self.features = FeatureStore(self.spec, self.objects, self.settings.feast_registry, self.settings.online_store)

    @property
    def held(self) -> str:
        """The candidate, as a server is told to hold it."""
        return f"{MODEL}:{VERSION}:{self.model.digest}"

    def put_online(self) -> None:
        """Build and materialise one interval."""
        features = self.rows.drop(columns=self.spec.label.column).assign(**{CREATED: self.rows[self.spec.timestamp]})
        self.objects.put(interval_key("features", MODEL, START), frame_to_parquet(features))
        record_interval(self.objects, MODEL, START, END, Record(batch="b", features="f", labels="l"))
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
        command = [sys.executable, str(SCRIPT), fault, "serve", "--role", "canary", "--hold", self.held]
        command += ["--port", str(port)]
        with (self.settings.home / f"{fault}.log").open("wb") as log:
            process = subprocess.Popen(command, env=os.environ | self.settings.to_environment(), stdout=log, stderr=log)
        try:
            wait_until(lambda: _answers(url), "the server answers", 90)
            yield url
        finally:
            process.kill()
            process.wait()

    @contextmanager
    def wanting(self, **fitness: Any) -> Iterator[None]:
        """Other demands of `serving_fitness` meanwhile."""
        usual, wanted = self.spec, self.spec.gate.serving_fitness.model_copy(update=fitness)
        self.spec = usual.model_copy(update={"gate": usual.gate.model_copy(update={"serving_fitness": wanted})})
        yield
        self.spec = usual

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
            look=1,
            confidence=0.95,
        )
        # What the checks of a server do not look at.
        nothing = [np.full(len(self.spec.label.classes), np.nan)] if self.spec.label.classes else [np.nan]
        scores = pd.DataFrame({"candidate": nothing * len(self.rows), "champion": nothing * len(self.rows)})
        files = {ROWS_FILE: frame_to_parquet(self.rows), SCORES_FILE: frame_to_parquet(scores)}
        return commit_dataset(self.objects, f"holdouts/{MODEL}", files, facts.model_dump(mode="json")).key


def _quick(spec: ModelSpec) -> ModelSpec:
    """Two seconds of load, enough for an interval of the p99, and a bound that a busy machine keeps and a server that takes 50 ms a row does not."""
    fitness = ServingFitness(
        rate=200, duration=timedelta(seconds=2), p99=timedelta(milliseconds=500), ready_within=timedelta(seconds=60)
    )
    gate: Gate = spec.gate.model_copy(update={"serving_fitness": fitness})
    return spec.model_copy(update={"gate": gate})


def rows_of(spec: ModelSpec, count: int) -> pd.DataFrame:
    """Rows of the last day before END with every feature set, but one number in ten missing."""
    random = np.random.default_rng(5)
    times = pd.date_range(END - timedelta(days=1), periods=count, freq=timedelta(days=1) / count)
    frame = pd.DataFrame({spec.entity: [f"flight-{place}" for place in range(count)], spec.timestamp: times})
    for feature in spec.features.columns:
        if feature.categories:
            frame[feature.name] = random.choice(feature.categories, count)
        else:
            frame[feature.name] = np.where(random.random(count) < 0.1, np.nan, random.random(count))
    return frame.assign(**{spec.label.column: random.choice(spec.label.classes or [0, 1], count)})


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ping").status_code == 200
    except httpx.HTTPError:
        return False
