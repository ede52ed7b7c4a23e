"""The states of a rollout: which leads to which, and what traffic each means."""

from __future__ import annotations

from typing import get_args

import pytest

from kilter.core.rollout import OPEN, PROMOTED, State, canary_weight, may_precede, resumed

STATES: tuple[State, ...] = get_args(State)
LEADS_TO = {
    "staged": {"staged", "shadow", "held", "promoting", "rolling_back"},
    "shadow": {"shadow", "shifting", "held", "rolling_back"},
    "shifting": {"shifting", "held", "promoting", "rolling_back"},
    "held": {"rolling_back"},
    "promoting": {"promoting", "promoted", "settled", "rolling_back"},
    "promoted": {"promoted", "settled", "giving_back"},
    "settled": {"giving_back"},
    "rolling_back": {"rolling_back", "rolled_back"},
    "giving_back": {"giving_back", "rolled_back"},
    "rolled_back": set(),
}


@pytest.mark.parametrize("state", STATES)
def test_what_each_state_leads_to_by_itself(state: State) -> None:
    assert {after for after in STATES if state in may_precede(after)} == LEADS_TO[state]


def test_no_rollout_is_promoted_that_did_not_say_so_before() -> None:
    assert set(may_precede("promoted")) == {"promoting", "promoted"}


def test_no_step_lets_a_held_rollout_go_on_in_passing() -> None:
    assert [state for state in STATES if "held" in may_precede(state)] == ["rolling_back"]


def test_what_is_being_ended_leads_to_its_end_alone() -> None:
    for state in ("rolling_back", "giving_back"):
        assert LEADS_TO[state] == {state, "rolled_back"}


def test_every_state_is_open_promoted_or_the_end() -> None:
    assert {*OPEN, *PROMOTED, "rolled_back"} == set(STATES)


@pytest.mark.parametrize("state", STATES)
def test_only_a_rollout_that_shifts_or_is_being_promoted_sends_requests_to_the_canary(state: State) -> None:
    assert canary_weight(state, 25) == (25 if state in ("shifting", "promoting") else 0)


def test_a_held_rollout_goes_on_where_it_was() -> None:
    assert (resumed(0), resumed(25)) == ("staged", "shifting")
