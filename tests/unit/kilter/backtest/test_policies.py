"""Policy files hold what a policy changes of the model's spec."""

from datetime import timedelta
from pathlib import Path

import pytest

from kilter.backtest.policies import read_policy
from kilter.backtest.stream import read_stream
from kilter.errors import SpecError
from kilter.spec import ModelSpec


@pytest.fixture
def spec(stream: Path) -> ModelSpec:
    return read_stream(stream, "y", "t").spec


def test_what_a_policy_leaves_out_is_the_models(tmp_path: Path, spec: ModelSpec) -> None:
    file = tmp_path / "eager.yaml"
    file.write_text("arbiter: {cooldown: 2d}\n")
    policy = read_policy(file, spec)
    assert policy.name == "eager"
    assert policy.spec.arbiter == spec.arbiter.model_copy(update={"cooldown": timedelta(days=2)})
    assert policy.spec.gate == spec.gate


def test_a_policy_may_change_the_gate(tmp_path: Path, spec: ModelSpec) -> None:
    file = tmp_path / "strict.yaml"
    file.write_text("gate: {inconclusive: hold}\narbiter: {saved: 1, cost_of_training: 5, cost_of_error: 0.1}\n")
    policy = read_policy(file, spec)
    assert policy.spec.gate.inconclusive == "hold"
    assert policy.spec.gate.against_champion == spec.gate.against_champion
    assert policy.spec.arbiter.cost_of_training == 5


@pytest.mark.parametrize("text", ["", "arbiter:\n"])
def test_an_empty_policy_is_the_models(text: str, tmp_path: Path, spec: ModelSpec) -> None:
    file = tmp_path / "same.yaml"
    file.write_text(text)
    assert read_policy(file, spec).spec == spec


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training: {rounds: 3}", "got training; a policy file has the sections arbiter, gate of model.yaml"),
        ("- arbiter", "got list; a policy file has the sections"),
        ("arbiter: [", "cannot be read as YAML"),
        ("arbiter: {cooldwn: 2d}", "arbiter.cooldwn: Extra inputs are not permitted"),
        ("arbiter: {cooldown: soon}", r"arbiter.cooldown: .* \(got 'soon'\)"),
        ("arbiter: {saved: 0}", "arbiter.saved"),
        ("arbiter: {cost_of_training: 5}", "give both or none"),
        ("arbiter: 3", "arbiter: got 3, expected a mapping of keys, as in model.yaml"),
        ("gate: {thresholds: {mae: 3}}", "mae"),
    ],
)
def test_a_wrong_policy_says_what_is_wrong(text: str, said: str, tmp_path: Path, spec: ModelSpec) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(SpecError, match=said) as raised:
        read_policy(file, spec)
    assert str(file) in str(raised.value)


def test_a_policy_that_is_not_there(tmp_path: Path, spec: ModelSpec) -> None:
    with pytest.raises(SpecError, match=r"none\.yaml"):
        read_policy(tmp_path / "none.yaml", spec)
