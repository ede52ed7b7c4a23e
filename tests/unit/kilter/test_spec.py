"""A wrong model.yaml is refused with file, key, value, what is allowed and the cure."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from kilter.errors import SpecError
from kilter.spec import load_spec, model_folders

FLIGHTS = Path(__file__).parents[3] / "include" / "models" / "flight_delay"


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of the flights' model folder with one change in its model.yaml."""
    content = yaml.safe_load((FLIGHTS / "model.yaml").read_text())
    change(content)
    model = folder / "flight_delay"
    model.mkdir()
    (model / "model.yaml").write_text(yaml.safe_dump(content))
    return model


def refusal(folder: Path, change: Callable[[dict[str, Any]], object]) -> str:
    model = changed(folder, change)
    with pytest.raises(SpecError) as error:
        load_spec(model)
    assert str(model / "model.yaml") in str(error.value)
    return str(error.value)


def test_the_bundled_model_is_accepted() -> None:
    spec = load_spec(FLIGHTS)
    assert spec.label.delay == timedelta(hours=2)
    assert spec.evaluation.primary == "roc_auc"


def test_an_unknown_key_is_named_with_the_keys_allowed_there(tmp_path: Path) -> None:
    message = refusal(tmp_path, lambda spec: spec["canary"].update(wieghts=[10, 100]))
    assert "canary.wieghts: unknown key (value [10, 100])" in message
    assert "weights" in message
    assert "remove it or correct its name" in message


def test_an_unknown_key_in_a_list_is_named_with_the_keys_allowed_there(tmp_path: Path) -> None:
    message = refusal(tmp_path, lambda spec: spec["features"]["columns"][0].update(type="float"))
    assert "features.columns.0.type: unknown key" in message
    assert "categories, kind, name" in message


def test_a_wrong_type_is_named_with_its_value(tmp_path: Path) -> None:
    message = refusal(tmp_path, lambda spec: spec["training"].update(rounds="many"))
    assert "training.rounds: got 'many'" in message


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert "label: missing; add it" in refusal(tmp_path, lambda spec: spec.pop("label"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda spec: spec["evaluation"].update(slices=["airport"]),
            "evaluation.slices: 'airport' is not allowed; allowed: hour,",
        ),
        (lambda spec: spec["canary"].update(weights=[50, 10, 100]), "weights [50, 10, 100] must rise and end with 100"),
        (lambda spec: spec["canary"].update(weights=[10, 50]), "weights [10, 50] must rise and end with 100"),
        (lambda spec: spec["canary"].update(weights=[100]), "weights [100] must rise and end with 100"),
        (lambda spec: spec["canary"].update(maximum_duration="2h"), "must be below resources.timeout"),
        (
            lambda spec: spec["evaluation"].update(metrics=["rmse"]),
            "evaluation.metrics: 'rmse' is not allowed; allowed: roc_auc",
        ),
        (lambda spec: spec["gate"].update(thresholds={"f1": 0.5}), "gate.thresholds: 'f1' is not allowed"),
        (
            lambda spec: spec["features"]["columns"].append({"name": "late"}),
            "'late' is the label, a time or the entity",
        ),
        (lambda spec: spec["features"]["columns"].append({"name": "hour"}), "features.columns: hour listed twice"),
        (
            lambda spec: spec["features"]["columns"].append({"name": "x", "kind": "categorical"}),
            "feature 'x' is categorical with 0 categories",
        ),
        (lambda spec: spec["source"].update(kind="s3"), "kind s3 needs a bucket"),
        (lambda spec: spec["source"].update(kind="files"), "kind files needs tables.flights.path"),
        (lambda spec: spec["schedule"].update(end="2012-01-01T00:00:00Z"), "is not after start"),
        (lambda spec: spec["resources"].update(fallback="cpu"), "fallback: cpu has no meaning without gpu"),
        (lambda spec: spec["label"].update(delay="soon"), "expected a duration such as 50ms, 90s, 15m, 2h or 3d"),
        (lambda spec: spec.update(name="flights"), "name: 'flights' must equal its folder 'flight_delay'"),
    ],
)
def test_an_impossible_combination_is_told_with_its_cure(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], told: str
) -> None:
    assert told in refusal(tmp_path, change)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    def two(spec: dict[str, Any]) -> None:
        spec["training"]["rounds"] = 0
        spec["drift"]["tresholds"] = 1

    message = refusal(tmp_path, two)
    assert "training.rounds" in message
    assert "drift.tresholds" in message


@pytest.mark.parametrize(("text", "told"), [("- a\n- b\n", "expected a mapping"), ("a: [", "is not YAML")])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "model.yaml").write_text(text)
    with pytest.raises(SpecError, match=told):
        load_spec(tmp_path)


def test_a_folder_without_a_spec_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    assert model_folders(tmp_path) == []


def test_the_digest_depends_only_on_the_sections_asked_for(tmp_path: Path) -> None:
    spec = load_spec(FLIGHTS)
    other = load_spec(changed(tmp_path, lambda content: content["canary"].update(weights=[20, 100])))
    assert spec.digest("training") == other.digest("training")
    assert spec.digest("canary") != other.digest("canary")
    assert spec.digest() != other.digest()
