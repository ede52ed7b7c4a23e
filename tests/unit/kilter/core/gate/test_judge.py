"""The gate's truth table: what the checks said, and what follows."""

from typing import Any

import pytest

from kilter.core.gate import against_champion
from kilter.core.gate.judge import Action, Ruling, judge
from kilter.core.verdict import Judgement, Verdict
from kilter.spec import CHECKS, Gate

PASSED, FAILED, INCONCLUSIVE, ERROR = Verdict


def gate(**changes: Any) -> Gate:
    return Gate(thresholds={"roc_auc": 0.6}, **changes)


def checks(**verdicts: Verdict) -> list[Judgement]:
    """All nine checks, passed unless told otherwise."""
    return [Judgement(name=name, verdict=verdicts.get(name, PASSED), reason=f"why {name}") for name in CHECKS]


def first() -> list[Judgement]:
    """All nine checks of a model without a champion."""
    return [against_champion.no_champion() if item.name == "against_champion" else item for item in checks()]


def outcome(ruling: Ruling) -> tuple[str, str]:
    return ruling.verdict.value, ruling.action.value


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ({}, ("passed", "promote")),
        ({"slices": FAILED}, ("failed", "reject")),
        ({"slices": ERROR}, ("error", "hold")),
        ({"slices": INCONCLUSIVE}, ("inconclusive", "hold")),
        ({"slices": FAILED, "sanity": ERROR}, ("failed", "reject")),
        ({"slices": FAILED, "sanity": INCONCLUSIVE}, ("failed", "reject")),
        ({"slices": ERROR, "sanity": INCONCLUSIVE}, ("error", "hold")),
    ],
)
def test_the_gravest_blocking_check_decides(verdicts: dict[str, Verdict], expected: tuple[str, str]) -> None:
    assert outcome(judge(checks(**verdicts), gate())) == expected


@pytest.mark.parametrize(
    ("rule", "approval", "expected"),
    [
        ("hold", "never", ("inconclusive", "hold")),
        ("hold", "on_inconclusive", ("inconclusive", "ask")),
        ("hold", "always", ("inconclusive", "hold")),
        ("reject", "never", ("inconclusive", "reject")),
        ("reject", "always", ("inconclusive", "reject")),
        ("approve", "never", ("passed", "promote")),
        ("approve", "on_inconclusive", ("passed", "ask")),
        ("approve", "always", ("passed", "ask")),
    ],
)
def test_an_inconclusive_check_follows_the_spec(rule: str, approval: str, expected: tuple[str, str]) -> None:
    judged = judge(checks(calibration=INCONCLUSIVE), gate(inconclusive=rule, approval=approval))
    assert outcome(judged) == expected


@pytest.mark.parametrize("approval", ["never", "on_inconclusive", "always"])
def test_nobody_is_asked_to_wave_through_what_failed_or_could_not_be_measured(approval: str) -> None:
    assert judge(checks(sanity=FAILED), gate(approval=approval)).action is Action.REJECT
    assert judge(checks(sanity=ERROR), gate(approval=approval)).action is Action.HOLD


def test_a_pass_is_asked_about_only_where_approval_is_always() -> None:
    actions = [judge(checks(), gate(approval=rule)).action for rule in ("never", "on_inconclusive", "always")]
    assert actions == [Action.PROMOTE, Action.PROMOTE, Action.ASK]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("approve", ("passed", "promote")), ("hold", ("inconclusive", "hold")), ("reject", ("inconclusive", "reject"))],
)
def test_a_first_champion_follows_its_own_rule(rule: str, expected: tuple[str, str]) -> None:
    others = "hold" if rule == "approve" else "approve"
    assert outcome(judge(first(), gate(first_champion=rule, inconclusive=others))) == expected


def test_on_inconclusive_a_person_is_asked_about_a_first_champion_too() -> None:
    assert outcome(judge(first(), gate(approval="on_inconclusive"))) == ("passed", "ask")


def test_an_inconclusive_comparison_with_a_champion_is_not_taken_for_a_missing_one() -> None:
    compared = [item.model_copy(update={"figures": {"champion": 3}}) for item in checks(against_champion=INCONCLUSIVE)]
    assert outcome(judge(compared, gate(first_champion="approve"))) == ("inconclusive", "hold")


@pytest.mark.parametrize("verdict", [FAILED, ERROR, INCONCLUSIVE])
def test_an_advisory_check_blocks_nothing_and_is_told(verdict: Verdict) -> None:
    judged = judge(checks(calibration=verdict), gate(advisory=["calibration"], inconclusive="reject"))
    assert outcome(judged) == ("passed", "promote")
    assert judged.reason == f"all 8 blocking checks passed; advisory: calibration {verdict}: why calibration"


def test_approving_what_is_inconclusive_never_makes_a_pass_of_no_data() -> None:
    nothing = checks(**dict.fromkeys(CHECKS, INCONCLUSIVE))
    judged = judge(nothing, gate(inconclusive="approve"))
    assert outcome(judged) == ("inconclusive", "hold")
    assert judged.reason.startswith("no blocking check passed; approved by the spec: thresholds inconclusive")


def test_an_advisory_pass_is_no_pass_of_the_gate() -> None:
    others = dict.fromkeys(CHECKS, INCONCLUSIVE) | {"sanity": PASSED}
    judged = judge(checks(**others), gate(inconclusive="approve", advisory=["sanity"]))
    assert judged.verdict is INCONCLUSIVE


@pytest.mark.parametrize("advisory", [(), ("sanity",)])
def test_a_missing_check_is_an_error_even_an_advisory_one(advisory: tuple[str, ...]) -> None:
    judged = judge([item for item in checks() if item.name != "sanity"], gate(advisory=advisory))
    assert outcome(judged) == ("error", "hold")
    assert judged.reason == "sanity error: this check was not made"


def test_no_checks_at_all_are_an_error() -> None:
    assert outcome(judge([], gate())) == ("error", "hold")


def test_a_check_made_twice_or_an_unknown_one_is_an_error() -> None:
    twice = judge([*checks(), checks()[0]], gate())
    assert (outcome(twice), twice.reason) == (("error", "hold"), "thresholds error: this check was made 2 times")
    unknown = judge([*checks(), Judgement(name="vibes", verdict=PASSED, reason="good")], gate())
    assert outcome(unknown) == ("error", "hold")
    assert "vibes error: this is no check of this model; there are: thresholds, " in unknown.reason


def test_a_model_without_slices_needs_no_check_of_them() -> None:
    eight = [name for name in CHECKS if name != "slices"]
    judged = judge([item for item in checks() if item.name != "slices"], gate(), eight)
    assert outcome(judged) == ("passed", "promote")


def test_the_reason_names_what_decided_and_leaves_out_what_did_not() -> None:
    judged = judge(checks(slices=FAILED, sanity=FAILED, calibration=INCONCLUSIVE), gate())
    assert judged.reason == "slices failed: why slices; sanity failed: why sanity"


def test_every_check_is_kept_with_what_it_counted_for() -> None:
    judged = judge(first(), gate(advisory=["calibration"]))
    roles = {item.judgement.name: item.role for item in judged.checks}
    assert roles == dict.fromkeys(CHECKS, "blocking") | {"calibration": "advisory", "against_champion": "approved"}
