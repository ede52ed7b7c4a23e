"""A bundled model with real stores in a temporary folder, and a fake registry."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kilter.settings import Settings
from kilter.spec import load_spec
from kilter.step import RunInfo, StepContext, Stores, load_step, parse_inputs
from kilter.stores.registry import MemoryRegistry

MODELS = Path(__file__).parents[3] / "include/models"


class Bundled:
    """The model as it is in the repository, and short ways to run its steps."""

    def __init__(self, model: str, home: Path) -> None:
        self.folder = MODELS / model
        self.spec = load_spec(self.folder)
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
        model = self.run("train", snapshot=snapshot).model
        evaluated = self.run("evaluate", snapshot=snapshot, model=model)
        parts = {"snapshot": snapshot, "model": model, "evaluation": evaluated.evaluation, "profile": profile}
        return self.run("register", **parts, reason="a test").version, evaluated.metrics

    def judge(self, version: int) -> dict[str, Any]:
        """The gate's checks of a candidate that need no server, by name."""
        holdout = self.run("score_holdout", version=version).holdout
        checks = [name for name in self.spec.checks if name not in ("prediction_parity", "serving_fitness")]
        return {name: self.run(f"check_{name}", holdout=holdout).judgement for name in checks}


@pytest.fixture
def bundled(tmp_path: Path) -> Callable[[str], Bundled]:
    """Makes a model's installation, by the model's name."""
    return lambda model: Bundled(model, tmp_path)
