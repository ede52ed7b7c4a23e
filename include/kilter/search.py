"""A search for a model's parameters: trainings with different ones, each a trial of one study, watched in MLflow."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from kilter.core.metrics import loss_metric
from kilter.core.search_space import Space, Value, described, inside, starting_point
from kilter.errors import DeviceError, InputError
from kilter.search_runs import KILLED, LOSSES, REASON, ROUNDS, SearchRuns
from kilter.stores.studies import ask, completed, ended, forget, open_study, repeat_interrupted, spent

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.study import Study
    from optuna.trial import Trial
    from sqlalchemy.engine import RowMapping

    from kilter.spec import ModelSpec
    from kilter.step import StepContext
    from kilter.trainers import Trained

_REPORTS = 10
"""Looks at a trial by the pruner, at most, as each is a write to the database."""
_UNPRUNED = 5
"""Trials that are never pruned, so that there is a median."""

Fit = Callable[[dict[str, Value], Callable[[int, float], None]], "Trained"]
"""Trains with these parameters, telling each round's loss."""


@dataclass(frozen=True)
class Plan:
    """What is searched, and how much that may cost.

    Args:
        study: its name, which follows from all that decides what a trial's loss is.
        first: parameters that are tried before all others: those of now, and the best of the model's last search.
        rounds: the most that a training may take.
        time: for all trials together, those before an interruption included.
    """

    study: str
    space: Space
    first: tuple[dict[str, Value], ...]
    trials: int
    time: timedelta
    rounds: int
    seed: int

    @classmethod
    def of(cls, spec: ModelSpec, snapshot: str, last: RowMapping | None) -> Plan:
        """Plan a search on one snapshot."""
        space, tuning, training = spec.search_space(), spec.tuning, spec.training
        content = [basis(spec), described(space), snapshot, training.seed]
        first = [starting_point(space, training.parameters)]
        if last is not None and last["trainer"] == training.trainer:
            first.append(first[0] | inside(space, last["parameters"]))
        return cls(
            study=f"{spec.name}-{_digest(content)[:12]}",
            space=space,
            first=tuple(first if first[0] != first[-1] else first[:1]),
            trials=tuning.trials,
            time=tuning.time or spec.resources.timeout / 2,
            rounds=training.rounds,
            seed=training.seed,
        )


@dataclass(frozen=True)
class Found:
    """What a search found: the best trial of a study."""

    study: str
    trial: int
    loss: float
    parameters: dict[str, Value]


def basis(spec: ModelSpec) -> str:
    """Digest of what the parameters found are good for: another trainer, loss or `training.parameters` makes them void."""
    training = spec.training
    loss = loss_metric(spec.task, spec.evaluation.primary)
    return _digest([training.trainer, loss, training.parameters, training.rounds, training.early_stopping])


def search(plan: Plan, fit: Fit, tags: Mapping[str, str], context: StepContext) -> Found:
    """Make trials until the budget is used up, and return the best one.

    The same plan again goes on where it was, and makes no trial when its budget is used up. One that found nothing is
    forgotten, so that it begins anew once what was wrong is cured.

    Args:
        tags: lineage of the run in MLflow, under which those of the trials are.

    Raises:
        InputError: no trial came to an end.
        UnavailableError: the ledger or MLflow does not answer; what was tried is kept.
    """
    with open_study(context.ledger, plan.study, _pruner(plan.rounds)) as study:
        repeat_interrupted(study)
        runs = SearchRuns(study, context.registry, context.spec.name, tags)
        runs.catch_up()
        while (number := len(ended(study))) < plan.trials and (left := plan.time - spent(study)) > timedelta(0):
            trial = ask(study, plan.space, plan.seed, plan.first)
            _attempt(trial, fit, study, runs, _Follower(trial, plan.rounds, left if completed(study) else None))
            left_over = f"{plan.trials - number - 1} trials and {_minutes(plan.time - spent(study))} left"
            context.log.info("%s; %s", _told(study, trial.number), left_over)
        if not completed(study):
            runs.fail()
            error = _nothing_found(study)
            forget(context.ledger, plan.study)
            raise error
        runs.finish()
        best = study.best_trial
        return Found(plan.study, best.number, study.best_value, dict(best.params))


def _attempt(trial: Trial, fit: Fit, study: Study, runs: SearchRuns, follower: _Follower) -> None:
    """Train with what the trial proposes; the study is told first, for MLflow may be away and the training was long."""
    from optuna.exceptions import TrialPruned
    from optuna.trial import TrialState

    runs.begin(trial)
    value, state = None, TrialState.COMPLETE
    try:
        trained = fit(trial.params, follower)
        value = min(trained.losses)
        trial.set_user_attr(ROUNDS, trained.rounds)
    except TrialPruned as reason:
        state = TrialState.PRUNED
        trial.set_user_attr(REASON, str(reason))
    except DeviceError:
        raise
    except InputError as error:
        state = TrialState.FAIL
        trial.set_user_attr(REASON, str(error))
    trial.set_user_attr(LOSSES, follower.losses)
    runs.tell(study.tell(trial, value, state))


class _Follower:
    """Follows a trial's training by its losses, and ends it when it is hopeless.

    Args:
        left: time after which it ends, too; None for the first trial that may give a result at all.
    """

    def __init__(self, trial: Trial, rounds: int, left: timedelta | None) -> None:
        self.losses: list[tuple[int, float]] = []
        self._trial = trial
        self._every = max(1, rounds // _REPORTS)
        self._first = _unpruned_rounds(rounds)
        self._end = math.inf if left is None else time.monotonic() + left.total_seconds()

    def __call__(self, rounds: int, loss: float) -> None:
        from optuna.exceptions import TrialPruned

        if not math.isfinite(loss):
            raise InputError(f"the validation loss is {loss} after round {rounds}")
        self.losses.append((rounds, loss))
        if time.monotonic() > self._end:
            raise TrialPruned(f"time was up after round {rounds}")
        if rounds >= self._first and rounds % self._every == 0:
            self._trial.report(loss, rounds)
            if self._trial.should_prune():
                raise TrialPruned(f"worse than the median after round {rounds}")


def _pruner(rounds: int) -> BasePruner:
    """Ends a trial whose best loss so far is worse than the median of the others' after as many rounds."""
    from optuna.pruners import MedianPruner

    return MedianPruner(n_startup_trials=_UNPRUNED, n_warmup_steps=_unpruned_rounds(rounds))


def _unpruned_rounds(rounds: int) -> int:
    """A quarter of the rounds, in which what learns slowly looks bad, however good it gets."""
    return rounds // 4


def _told(study: Study, number: int) -> str:
    """A trial in words, beside the best one."""
    trial = study.get_trials(deepcopy=False)[number]
    if REASON in trial.user_attrs:
        outcome = f"{trial.state.name.lower()}, {trial.user_attrs[REASON]}"
    else:
        outcome = f"loss {trial.value:.5f} after {trial.user_attrs[ROUNDS]} rounds"
    best = f", best {study.best_value:.5f} (trial {study.best_trial.number})" if completed(study) else ""
    return f"trial {number}: {outcome}{best}"


def _nothing_found(study: Study) -> InputError:
    reasons = [trial.user_attrs.get(REASON, KILLED) for trial in ended(study)]
    return InputError(
        f"study '{study.study_name}': none of its {len(reasons)} trials came to an end; the last: {reasons[-1]}: correct "
        "training.parameters and tuning.parameters, or give the step more of what it lacked; then clear the task"
    )


def _minutes(span: timedelta) -> str:
    return f"{max(span, timedelta(0)) / timedelta(minutes=1):.1f} minutes"


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
