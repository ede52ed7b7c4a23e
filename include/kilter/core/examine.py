"""What a record of losses says: everything the arbiter is told that follows from labels."""

from __future__ import annotations

from typing import NamedTuple

from kilter.core.arbiter import Rival
from kilter.core.choose_scope import choose_scope
from kilter.core.decay import SURE, decay
from kilter.core.record import Record
from kilter.core.scope import Scope
from kilter.core.track_record import LOOKS, rivals
from kilter.core.verdict import Judgement
from kilter.core.worth import in_vain, worth
from kilter.spec import Arbiter

_PROBATION = 4
"""Windows after its promotion in which a champion is held against the model that it replaced."""


class Findings(NamedTuple):
    """What was found.

    Args:
        judgements: `decay` and `worth`.
        rivals: earlier models that may come back.
        scope: what to train on, were it decided to.
        windows: the windows of that scope, by their place in the record.
        changed: since which window the champion is worse than it was; None when it is not.
        trained_labels: labelled rows of the scope that the newest training knew.
        new_labels: those that came since.
        in_vain: the last trainings in a row that gained nothing: where it decayed those that a decay caused, else the others.
    """

    judgements: tuple[Judgement, ...]
    rivals: tuple[Rival, ...]
    scope: Scope
    windows: tuple[int, ...]
    changed: int | None
    trained_labels: int
    new_labels: int
    in_vain: int


def examine(record: Record, policy: Arbiter, alarmed: bool = False) -> Findings:
    """Look at a record after its newest window.

    Earlier models are looked at when the champion decayed, and its predecessor for a while after the promotion, over all
    windows since: looked at in every window, one of many would seem better by chance some day.

    Args:
        alarmed: whether something else says that the champion is not what it was, such as a drift report.
    """
    found = decay(record.learner(record.champion), record, max(record.since, record.changed) or None)
    scope, windows = choose_scope(record, found)
    newest = max((past.window for past in record.trainings), default=record.learner(record.champion).learned)
    known = record.rows([place for place in windows if place <= newest])
    return Findings(
        judgements=(found.judgement, worth(record, policy)),
        rivals=_rivals(record, alarmed or found.changed is not None),
        scope=scope,
        windows=windows,
        changed=found.changed,
        trained_labels=known or record.rows(record.learner(record.champion).windows),
        new_labels=record.rows([place for place in windows if place > newest]),
        in_vain=in_vain(record, found.changed is not None),
    )


def _rivals(record: Record, decayed: bool) -> tuple[Rival, ...]:
    if decayed:
        return rivals(record)
    lately = [
        past.champion
        for past in record.trainings
        if past.version == record.champion and record.now - past.window <= _PROBATION
    ]
    return tuple(rival for rival in rivals(record, look=LOOKS[-1], sure=SURE) if rival.version in lately)
