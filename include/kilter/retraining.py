"""A retraining in the ledger: what begins it, and how long it may be under way."""

from __future__ import annotations

from datetime import timedelta

from kilter.spec import ModelSpec

_STEPS = 10
"""Steps that follow one another: freeze_dataset, tune, train, evaluate, register, choose_candidate, score_holdout, check (twice),
judge."""
_TRIES = 3
"""Tries of each, as the DAGs have it."""


def longest(spec: ModelSpec) -> timedelta:
    """How long a retraining is taken to be under way: as long as all its steps may take, at every try.

    One that nobody ended by then (its run was deleted, or never began) blocks no other any more.
    """
    return _STEPS * _TRIES * spec.resources.timeout
