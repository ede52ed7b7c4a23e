"""Studies of Optuna in the ledger's database, so that a search that was killed goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from kilter.core.search_space import Choice, Range, Space, Value
from kilter.errors import InputError, UnavailableError
from kilter.stores.ledger import Ledger, patience

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.storages import RDBStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

_INTERRUPTED = "interrupted"
_REPEATS = "repeats"


@contextmanager
def open_study(ledger: Ledger, name: str, pruner: BasePruner | None = None) -> Iterator[Study]:
    """The study of that name, begun or gone on with, in Optuna's own tables beside the ledger's.

    One process at a time: trials that ran when it was opened are taken for those of a process that was killed.

    Raises:
        InputError: the tables are of another version of Optuna.
        UnavailableError: the database does not answer, now or later while the study is open.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    # Every trial is told in the step's own log.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = _storage(ledger)
        yield optuna.create_study(
            storage=storage, study_name=name, pruner=pruner, direction="minimize", load_if_exists=True
        )
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise UnavailableError(
            f"ledger {ledger.engine.url.render_as_string()}: study '{name}': {getattr(error, 'orig', None) or error}: "
            "is the database up? What was tried is kept, and trying again goes on with it"
        ) from error


def forget(ledger: Ledger, name: str) -> None:
    """Delete a study with its trials."""
    import optuna

    optuna.delete_study(study_name=name, storage=_storage(ledger))


def _storage(ledger: Ledger) -> RDBStorage:
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import DBAPIError

    def opened() -> RDBStorage:
        # The password stays within: Optuna takes no engine that is open already.
        url = ledger.engine.url.render_as_string(hide_password=False)
        return RDBStorage(url, {"connect_args": patience(url), "pool_pre_ping": True})

    try:
        return opened()
    except DBAPIError:
        # Another model's search made the tables at the same time: they are there now.
        return opened()
    except RuntimeError as error:
        raise InputError(
            f"ledger {ledger.engine.url.render_as_string()}: the tables of searches are of another version of Optuna: "
            "bring them up with 'optuna storage upgrade --storage URL' of the newer version"
        ) from error


def ask(study: Study, space: Space, seed: int, first: Sequence[Mapping[str, Value]]) -> Trial:
    """The next trial: what was interrupted, else the next of `first`, else what Optuna's sampler proposes (TPE).

    It follows from the seed and the trials that have ended, so that a search that was killed goes on as it would have.
    """
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    number = len(ended(study))
    study.sampler = TPESampler(seed=seed + number)
    if number < len(first) and not study.get_trials(deepcopy=False, states=[TrialState.WAITING]):
        study.enqueue_trial(dict(first[number]))
    return study.ask({name: _distribution(values) for name, values in space.items()})


def ended(study: Study) -> list[FrozenTrial]:
    """Trials that count: completed, pruned or failed, without those that were interrupted and repeated."""
    trials = study.get_trials(deepcopy=False)
    repeated = {trial.user_attrs.get(_REPEATS) for trial in trials}
    return [trial for trial in trials if trial.state.is_finished() and trial.number not in repeated]


def completed(study: Study) -> list[FrozenTrial]:
    """Trials that have a result."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])


def spent(study: Study) -> timedelta:
    """How long the trials took that count; of interrupted ones nobody knows."""
    unknown = study.user_attrs.get(_INTERRUPTED, [])
    known = (trial.duration for trial in ended(study) if trial.number not in unknown)
    return sum((duration for duration in known if duration), timedelta(0))


def repeat_interrupted(study: Study) -> None:
    """Fail the trials that a killed process left running, and have their parameters tried again.

    A trial that repeats another one is not repeated: it may be what kills the process, such as by the memory it takes.
    """
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        # In an order that may end anywhere, and then be begun again.
        study.set_user_attr(_INTERRUPTED, sorted({*study.user_attrs.get(_INTERRUPTED, []), trial.number}))
        repeated = {other.user_attrs.get(_REPEATS) for other in study.get_trials(deepcopy=False)}
        if _REPEATS not in trial.user_attrs and trial.number not in repeated:
            # One that was killed while it was asked for has not yet all the values that it was to begin with.
            wanted = trial.system_attrs.get("fixed_params", {}) | trial.params
            study.enqueue_trial(wanted, user_attrs={_REPEATS: trial.number})
        study.tell(trial.number, state=TrialState.FAIL)


def _distribution(values: Range | Choice) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(values, Choice):
        return CategoricalDistribution(values.values)
    if values.integer:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)
