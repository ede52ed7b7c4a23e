"""A step's job: its result key, and what an ended step said last."""

from pathlib import Path
from typing import Any

from kilter.spec import load_spec
from kilter.step import RunInfo, load_step, parse_inputs
from kilter_airflow.access import Access
from kilter_airflow.job import Ended, StepJob

MODEL = Path(__file__).parents[2] / "models/waiting"
INPUTS = {"extract": {"start": "2001-01-01T00:00:00Z", "end": "2002-01-01T00:00:00Z"}, "train": {"snapshot": "s"}}


def job(step: str, **changes: Any) -> StepJob:
    values: dict[str, Any] = {
        "step": step,
        "info": load_step(step).STEP,
        "spec": load_spec(MODEL),
        "inputs": parse_inputs(step, INPUTS[step]),
        "run": RunInfo(),
        "code": "c0de",
        "image": "sha256:1",
        "attempt": "first",
        "map_index": -1,
        "access": Access({}, (), (), False),
    }
    return StepJob(**values | changes)


def test_a_memoised_step_has_one_result_for_all_attempts() -> None:
    assert job("train").key == job("train", attempt="second").key


def test_a_step_that_is_not_memoised_has_a_result_for_each_attempt() -> None:
    assert job("extract").key != job("extract", attempt="second").key
    assert job("extract", attempt="second").as_attempt("first").key == job("extract").key


def test_other_code_or_another_image_gives_another_result() -> None:
    keys = {job("train").key, job("train", code="other").key, job("train", image="sha256:2").key}
    assert len(keys) == 3


def test_who_runs_a_step_does_not_change_its_result() -> None:
    assert job("train").key == job("train", run=RunInfo(run_id="another")).key


def test_the_last_error_is_what_a_step_said_with_all_its_lines() -> None:
    lines = ("step extract starts", "SpecError: m.yaml: a: missing", "m.yaml: b: missing")
    assert Ended(2, "key", lines).sentence == "SpecError: m.yaml: a: missing\nm.yaml: b: missing"


def test_without_an_error_the_last_line_is_what_a_step_said() -> None:
    assert Ended(1, "key", ("one: two", "three")).sentence == "three"
    assert Ended(1, "key").sentence == "it printed nothing"
