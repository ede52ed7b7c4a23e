"""The states of a rollout, and what leads from one to the next.

    staged -> shadow -> shifting (weight by weight) -> promoting -> promoted -> settled
       the first three <-> held          whatever is under way -> rolling_back -> rolled_back
                                         promoted and settled  -> giving_back  -> rolled_back

`promoted` is provisional: the predecessor stays loaded until labels tell (`kilter.core.watch`). The states that end in
`-ing` after it say what is meant while servers and names are moved: nothing but their end may follow.
"""

from __future__ import annotations

from typing import Literal

State = Literal[
    "staged",
    "shadow",
    "shifting",
    "held",
    "promoting",
    "promoted",
    "settled",
    "rolling_back",
    "giving_back",
    "rolled_back",
]

OPEN: tuple[State, ...] = ("staged", "shadow", "shifting", "held", "promoting", "rolling_back", "giving_back")
"""States of a rollout that moves servers or traffic; a model has one at most."""
PROMOTED: tuple[State, ...] = ("promoted", "settled")
"""States in which the candidate is the champion, or was until a later one followed it."""

_BEFORE: dict[State, tuple[State, ...]] = {
    "staged": ("staged",),
    "shadow": ("staged", "shadow"),
    "shifting": ("shadow", "shifting"),
    "held": ("staged", "shadow", "shifting"),
    "promoting": ("staged", "shifting", "promoting"),
    "promoted": ("promoting", "promoted"),
    "settled": ("promoting", "promoted"),
    "rolling_back": ("staged", "shadow", "shifting", "held", "promoting", "rolling_back"),
    "giving_back": ("promoted", "settled", "giving_back"),
    "rolled_back": ("rolling_back", "giving_back"),
}


def may_precede(state: State) -> tuple[State, ...]:
    """States from which a rollout may come to this one by itself; staying is coming from itself.

    Only a person lets a held one go on: no step that had begun before may do so in passing.

    >>> may_precede("settled")
    ('promoting', 'promoted')
    """
    return _BEFORE[state]


def canary_weight(state: str, weight: int) -> int:
    """Percent of the requests that the canary shall get, whatever HAProxy has.

    Args:
        weight: that of the step which the rollout is at; a held one keeps it, to go on there. One that is being promoted
            has 100 until the champion's server holds the candidate, too.

    >>> canary_weight("shifting", 25), canary_weight("held", 25)
    (25, 0)
    """
    return weight if state in ("shifting", "promoting") else 0


def resumed(weight: int) -> State:
    """The state in which a rollout that was held at this weight goes on; its next step finds its place from there."""
    return "shifting" if weight else "staged"
