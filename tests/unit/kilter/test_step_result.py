"""What a step puts out, as the step after it reads it."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import pytest

from kilter.core.verdict import Measured, Verdict, judge_measured
from kilter.settings import Settings
from kilter.step import Result, RunInfo, parse_inputs, run_step
from kilter.steps import check_thresholds


def test_a_number_that_could_not_be_measured_reaches_judge_as_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    unmeasured = judge_measured("thresholds", [Measured(label="p99", value=math.nan, wanted="at_most", bound=1.0)])
    monkeypatch.setattr(check_thresholds, "run", lambda inputs, context: check_thresholds.Outputs(judgement=unmeasured))
    models = Path(__file__).parents[3] / "include/models"
    settings = Settings.from_environment({"KILTER_HOME": str(tmp_path)})
    result = run_step(
        "check_thresholds", models / "flight_delay", {"holdout": "h"}, RunInfo(), settings, logging.getLogger("test")
    )
    read = Result.model_validate_json(result.model_dump_json()).outputs
    xcom = json.loads(json.dumps(read, allow_nan=False))
    inputs = parse_inputs("judge", {"version": 1, "holdout": "h", "judgements": [xcom["judgement"]]})
    (judgement,) = inputs.judgements
    assert judgement.verdict is Verdict.ERROR
    assert math.isnan(judgement.measured[0].value)
