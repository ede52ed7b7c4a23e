"""The states of a rollout, and what leads from one to the next.

    staged -> shadow -> shifting (weight by weight) -> promoted -> settled
       any of the first three <-> held                    any before settled, and settled by hand -> rolled_back

`promoted` is provisional: the predecessor stays loaded until labels tell (`kilter.core.watch`).
"""

from __future__ import annotations

from typing import Literal, get_args

State = Literal["staged", "shadow", "shifting", "held", "promoted", "settled", "rolled_back"]
STATES: tuple[State, ...] = get_args(State)

OPEN: tuple[State, ...] = ("staged", "shadow", "shifting", "held")
"""States of a rollout that is under way; a model has one at most."""
PROMOTED: tuple[State, ...] = ("promoted", "settled")
"""States in which the candidate is the champion, or was until a later one followed it."""

_BEFORE: dict[State, tuple[State, ...]] = {
    "staged": ("staged",),
    "shadow": ("staged", "shadow"),
    "shifting": ("staged", "shadow", "shifting"),
    "held": OPEN,
    "promoted": ("shifting", "promoted"),
    "settled": ("staged", "promoted", "settled"),
    "rolled_back": (*OPEN, *PROMOTED, "rolled_back"),
}


def may_precede(state: State) -> tuple[State, ...]:
    """States from which a rollout may come to this one by itself; staying is coming from itself.

    Only a person lets a held one go on: no step that had begun before may do so in passing.

    >>> may_precede("settled")
    ('staged', 'promoted', 'settled')
    """
    return _BEFORE[state]


def canary_weight(state: str, weight: int) -> int:
    """Percent of the requests that the canary shall get, whatever HAProxy has.

    Args:
        weight: that of the step which the rollout is at; a held one keeps it, to go on there.

    >>> canary_weight("shifting", 25), canary_weight("held", 25)
    (25, 0)
    """
    return weight if state == "shifting" else 0


def resumed(weight: int) -> State:
    """The state in which a rollout that was held at this weight goes on."""
    return "shifting" if weight else "shadow"
