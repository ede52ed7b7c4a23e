"""Live through a history under one policy: answer a window, learn its labels, decide, train, judge, and go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from kilter.backtest.fits import Fit, Fits
from kilter.backtest.gate import admits
from kilter.backtest.history import History
from kilter.backtest.policies import Policy, Yardstick
from kilter.core.arbiter import Decision, Evidence, decide
from kilter.core.examine import examine
from kilter.core.record import Learner, Past, Record
from kilter.core.scope import Kind
from kilter.errors import DataError
from kilter.spec import ModelSpec

Progress = Callable[[], None]
Outcome = Literal["promoted", "held", "rejected", "returned", "nothing"]


@dataclass(frozen=True)
class Step:
    """One window: who answered it, what was decided after it, and what came of that."""

    window: int
    version: int
    action: Literal["retrain", "redeploy", "wait"]
    outcome: Outcome
    reason: str
    made: int | None = None
    """The version trained or brought back."""


@dataclass
class Replayed:
    """A history lived through. Version 1 is the first model."""

    policy: Policy
    fits: dict[int, Fit] = field(default_factory=dict)
    kinds: dict[int, Kind] = field(default_factory=dict)
    kept: dict[int, set[int]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    trainings: list[Past] = field(default_factory=list)
    rejected: set[int] = field(default_factory=set)
    promoted: set[int] = field(default_factory=set)

    def add(self, fit: Fit, kind: Kind) -> int:
        """Give a trained model the next version."""
        version = len(self.fits) + 1
        self.fits[version], self.kinds[version], self.kept[version] = fit, kind, set()
        return version


def replay(policy: Policy, fits: Fits, progress: Progress = lambda: None) -> Replayed:
    """Live through the history from the first window that the first model did not learn from.

    After each window but the last one decision is taken, by the labels known at its end. A model trained then answers from
    the next window on, if the gate lets it.

    Raises:
        DataError: too few rows for a training.
    """
    history = fits.history
    run = Replayed(policy)
    champion = run.add(fits.fit(range(history.initial), history.initial - 1), "all")
    mind = _Mind(champion)
    for window in range(history.initial, len(history.spans)):
        answered = mind.champion
        if window == len(history.spans) - 1:
            run.steps.append(Step(window, answered, "wait", "nothing", "history ends here"))
        elif isinstance(policy, Yardstick):
            run.steps.append(_by_rule(policy, run, mind, fits, window))
        else:
            run.steps.append(_by_arbiter(policy.spec, run, mind, fits, window))
        progress()
    return run


@dataclass
class _Mind:
    """What is remembered from one window to the next; in production the ledger does."""

    champion: int
    since: int = 0
    changed: int = 0


def _by_rule(policy: Yardstick, run: Replayed, mind: _Mind, fits: Fits, window: int) -> Step:
    answered = mind.champion
    due = policy.every and (window - fits.history.initial + 1) % policy.every == 0
    if not due:
        return Step(window, answered, "wait", "nothing", "not due")
    first = 0 if policy.last is None else max(0, window + 1 - policy.last)
    try:
        fit = fits.fit(range(first, window + 1), window)
    except DataError as error:  # such as labels that come later than a window lasts
        return Step(window, answered, "wait", "nothing", f"due, but {error}")
    mind.champion = run.add(fit, "all" if policy.last is None else "recent")
    run.trainings.append(Past(window, mind.champion, answered, False))
    return Step(window, answered, "retrain", "promoted", policy.name, mind.champion)


def _by_arbiter(spec: ModelSpec, run: Replayed, mind: _Mind, fits: Fits, window: int) -> Step:
    record = _record(run, mind, fits.history, window)
    found = examine(record, spec.arbiter)
    if found.changed is None:
        run.kept[mind.champion].add(window)
    else:
        mind.changed = max(mind.changed, found.changed)
    evidence = Evidence(
        event_time=record.spans[record.now][1],
        judgements=found.judgements,
        rivals=found.rivals,
        scope=found.scope,
        new_labels=found.new_labels,
        trained_labels=found.trained_labels,
        trainings=(
            fits.history.spans[fits.history.initial - 1][1],
            *(record.spans[past.window][1] for past in run.trainings),
        ),
        in_vain=found.in_vain,
    )
    decision = decide(evidence, spec.arbiter)
    answered = mind.champion
    if decision.action == "wait" and _passes_now(spec, run, mind, fits, window):
        return Step(
            window,
            answered,
            "wait",
            "promoted",
            f"{decision.reason}; the candidate that was held passes now",
            mind.champion,
        )
    if decision.action == "retrain":
        made, outcome = _retrain(spec, run, mind, fits, found.windows, decision, found.changed is not None, window)
        return Step(window, answered, "retrain", outcome, decision.reason, made)
    if decision.action == "redeploy" and decision.version is not None:
        mind.champion, mind.since = decision.version, window
        run.promoted.add(decision.version)
        return Step(window, answered, "redeploy", "returned", decision.reason, decision.version)
    return Step(window, answered, "wait", "nothing", decision.reason)


def _passes_now(spec: ModelSpec, run: Replayed, mind: _Mind, fits: Fits, window: int) -> bool:
    """Judge the newest model again, if it is held, by all labels known now, as `model_validation` does."""
    newest = len(run.fits)
    if newest == mind.champion or newest in run.rejected or newest in run.promoted:
        return False
    known = fits.history.rows(range(run.fits[newest].windows[-1] + 1, window + 1), window)
    found = admits(run.fits[newest], run.fits[mind.champion], fits, spec, known)
    if found == "promoted":
        mind.champion, mind.since = newest, 0
        run.promoted.add(newest)
    elif found == "rejected":
        run.rejected.add(newest)
    return found == "promoted"


def _retrain(
    spec: ModelSpec,
    run: Replayed,
    mind: _Mind,
    fits: Fits,
    windows: tuple[int, ...],
    decision: Decision,
    decayed: bool,
    window: int,
) -> tuple[int, Outcome]:
    fit = fits.fit(windows, window)
    made = run.add(fit, decision.scope.kind if decision.scope else "all")
    run.trainings.append(Past(window, made, mind.champion, decayed))
    outcome = admits(fit, run.fits[mind.champion], fits, spec)
    if outcome == "promoted":
        mind.champion, mind.since = made, 0
        run.promoted.add(made)
    elif outcome == "rejected":
        run.rejected.add(made)
    return made, outcome


def _record(run: Replayed, mind: _Mind, history: History, window: int) -> Record:
    known = [history.known(place, window) for place in range(window + 1)]
    labels = [history.labels[history.window(place)][seen] for place, seen in enumerate(known)]

    def learner(version: int, fit: Fit) -> Learner:
        fresh = [place for place in range(history.initial, window + 1) if place > fit.windows[-1]]
        return Learner(
            version=version,
            kind=run.kinds[version],
            windows=fit.windows,
            test=fit.losses[fit.test],
            test_labels=history.labels[fit.test],
            losses={place: fit.losses[history.window(place)][known[place]] for place in fresh if known[place].any()},
            kept=frozenset(run.kept[version]),
        )

    return Record(
        spans=history.spans[: window + 1],
        names=history.names[: window + 1],
        labels=labels,
        learners=[learner(version, fit) for version, fit in run.fits.items() if version not in run.rejected],
        champion=mind.champion,
        since=mind.since,
        changed=mind.changed,
        trainings=run.trainings,
        classes=history.spec.task != "regression",
    )
