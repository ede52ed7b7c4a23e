"""The states of a rollout: which leads to which, and what traffic each means."""

from __future__ import annotations

import pytest

from kilter.core.rollout import OPEN, PROMOTED, STATES, State, canary_weight, may_precede, resumed

LEADS_TO = {
    "staged": {"staged", "shadow", "shifting", "held", "settled", "rolled_back"},
    "shadow": {"shadow", "shifting", "held", "rolled_back"},
    "shifting": {"shifting", "held", "promoted", "rolled_back"},
    "held": {"held", "rolled_back"},
    "promoted": {"promoted", "settled", "rolled_back"},
    "settled": {"settled", "rolled_back"},
    "rolled_back": {"rolled_back"},
}


@pytest.mark.parametrize("state", STATES)
def test_what_each_state_leads_to_by_itself(state: State) -> None:
    assert {after for after in STATES if state in may_precede(after)} == LEADS_TO[state]


def test_no_rollout_is_promoted_that_users_never_asked() -> None:
    assert set(may_precede("promoted")) == {"shifting", "promoted"}


def test_no_step_lets_a_held_rollout_go_on_in_passing() -> None:
    assert [state for state in STATES if "held" in may_precede(state)] == ["held", "rolled_back"]


def test_every_state_is_open_promoted_or_the_end() -> None:
    assert (*OPEN, *PROMOTED, "rolled_back") == STATES


@pytest.mark.parametrize("state", STATES)
def test_only_a_shifting_rollout_sends_requests_to_the_canary(state: State) -> None:
    assert canary_weight(state, 25) == (25 if state == "shifting" else 0)


def test_a_held_rollout_goes_on_where_it_was() -> None:
    assert (resumed(0), resumed(25)) == ("shadow", "shifting")
