"""A bundled model with real stores in a temporary folder, and a fake registry."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kilter.keys import interval_key
from kilter.scores import to_column
from kilter.settings import Settings
from kilter.spec import load_spec
from kilter.step import RunInfo, StepContext, Stores, load_step, parse_inputs
from kilter.stores.models import load_model
from kilter.stores.parquet import frame_to_parquet, from_parquet
from kilter.stores.registry import MemoryRegistry

MODELS = Path(__file__).parents[3] / "include/models"


class Bundled:
    """The model as it is in the repository, and short ways to run its steps."""

    def __init__(self, model: str, home: Path) -> None:
        self.folder = MODELS / model
        self.spec = load_spec(self.folder)
        self.start = self.spec.schedule.start
        self.stores = Stores(Settings.from_environment({"KILTER_HOME": str(home)}), self.spec)
        self.stores.__dict__["registry"] = MemoryRegistry()
        self.stores.ledger.migrate()

    def run(self, step: str, **inputs: Any) -> Any:
        """Run a step; its outputs."""
        module = load_step(step)
        run = RunInfo(dag_id=f"{self.spec.name}.test", run_id="run")
        context = StepContext(self.spec, self.folder, self.stores, module.STEP, run, "cpu", logging.getLogger("test"))
        return module.run(parse_inputs(step, inputs), context)

    def ingest(self, start: datetime, end: datetime) -> Any:
        """All of `feature_ingestion`; the outputs of build_features."""
        batch = self.run("extract", start=start, end=end).batch
        checked = self.run("validate_batch", batch=batch, start=start, end=end)
        assert checked.verdict == "passed", checked.reason
        features = self.run("build_features", batch=batch, start=start, end=end)
        self.run("materialize", start=start, end=end, digest=features.digest)
        return features

    def train(self, as_of: datetime) -> tuple[int, dict[str, float]]:
        """All of `continuous_training`; the candidate's version and its metrics."""
        snapshot = self.run("freeze_dataset", as_of=as_of).snapshot
        profile = self.run("profile", snapshot=snapshot).profile
        trained = self.run("train", snapshot=snapshot)
        parts = {"snapshot": snapshot, "model": trained.model}
        evaluated = self.run("evaluate", **parts)
        parts |= {"evaluation": evaluated.evaluation, "profile": profile, "device": trained.device}
        return self.run("register", **parts, reason="a test").version, evaluated.metrics

    def judge(self, version: int, as_of: datetime) -> dict[str, Any]:
        """The gate's checks of a candidate that need no server, by name."""
        holdout = self.run("score_holdout", version=version, as_of=as_of).holdout
        checks = [name for name in self.spec.checks if name not in ("prediction_parity", "serving_fitness")]
        return {name: self.run(f"check_{name}", holdout=holdout).judgement for name in checks}

    def serve(self, version: int, start: datetime, end: datetime) -> None:
        """Log what a version, as the champion, answers to all rows of an interval that was ingested."""
        name, objects = self.spec.name, self.stores.objects
        key = interval_key("features", name, start)
        rows = from_parquet(objects.get(key), key).to_pandas().drop(columns="created")
        scores = load_model(objects, self.stores.registry.version(name, version).key).score(rows)
        facts = {"request_id": "r", "logged_at": end, "role": "champion", "model_version": version, "digest": "d"}
        span = "_".join(f"{time:%Y%m%dT%H%M%S}" for time in rows[self.spec.timestamp].iloc[[0, -1]])
        log = rows.assign(score=to_column(scores), **facts)
        objects.put(f"predictions/{name}/{span}_champion_{version}.parquet", frame_to_parquet(log))

    def report(self, start: datetime, end: datetime) -> Any:
        """All of `drift_monitoring`; what it judged, by name."""
        window = self.run("join_labels", start=start, end=end).window
        report = self.run("report_drift", window=window, start=start, end=end).report
        judged = json.loads(self.stores.objects.get(f"{report}/report.json"))["judgements"]
        return {item["name"]: item for item in judged}


@pytest.fixture(scope="session")
def factory(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundled, int, dict[str, float]]:
    """factory_line after five days of recipe A, with the candidate trained on them: its version and its metrics."""
    bundled = Bundled("factory_line", tmp_path_factory.mktemp("factory_line"))
    end = bundled.start + timedelta(days=5)
    bundled.ingest(bundled.start, end)
    return bundled, *bundled.train(end)


@pytest.fixture
def flights(tmp_path: Path) -> Bundled:
    """arrival_delay before its first interval."""
    return Bundled("arrival_delay", tmp_path)
