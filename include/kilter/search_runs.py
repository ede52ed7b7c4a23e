"""A search in MLflow: one run, and below it one for each trial; at the end what decided, as pictures and a table."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kilter.plots import best_so_far, shares
from kilter.stores.registry import Registry, RunStatus
from kilter.stores.studies import completed, ended

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

RUN = "run"
"""Attribute of a study and of a trial: its run in MLflow."""
ROUNDS = "rounds"
"""Attribute of a trial: the rounds that its model kept."""
LOSSES = "losses"
"""Attribute of a trial: its rounds, each with the loss."""
REASON = "reason"
"""Attribute of a trial without a result: why, in words."""
KILLED = "the step was killed twice while this trial ran"
"""Why a trial has no result that has no other reason."""

_STATUS: dict[str, RunStatus] = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


class SearchRuns:
    """The runs of one study; that of the search is found again when the search goes on, unless it was deleted meanwhile.

    Args:
        tags: lineage of the search's run.
    """

    def __init__(self, study: Study, registry: Registry, model: str, tags: Mapping[str, str]) -> None:
        self._study = study
        self._registry = registry
        self._model = model
        if registry.status(study.user_attrs.get(RUN, "")) is None:
            study.set_user_attr(RUN, registry.begin_run(model, f"search {study.study_name}", tags))
        self.parent: str = study.user_attrs[RUN]

    def begin(self, trial: Trial) -> None:
        """Begin a trial's run."""
        run = self._registry.begin_run(self._model, f"trial {trial.number}", {}, self.parent)
        trial.set_user_attr(RUN, run)
        self._registry.log_progress(run, {}, trial.params)

    def tell(self, trial: FrozenTrial) -> None:
        """Show the curve of a trial that has ended and its best loss beside those of the others, and end its run."""
        run, losses = trial.user_attrs[RUN], trial.user_attrs.get(LOSSES)
        if losses:
            self._registry.log_progress(run, {"validation_loss": losses})
            self._registry.log_progress(self.parent, {"loss": [(trial.number, min(loss for _, loss in losses))]})
        interrupted = trial.state.name == "FAIL" and REASON not in trial.user_attrs
        self._registry.end_run(run, "KILLED" if interrupted else _STATUS[trial.state.name])

    def catch_up(self) -> None:
        """Tell of the trials that ended when MLflow was away, or with the step."""
        trials = self._study.get_trials(deepcopy=False)
        shown = [trial for trial in trials if trial.state.is_finished() and RUN in trial.user_attrs]
        for trial in takewhile(
            lambda trial: self._registry.status(trial.user_attrs[RUN]) == "RUNNING", reversed(shown)
        ):
            self.tell(trial)

    def fail(self) -> None:
        """End a search that found nothing."""
        self._registry.end_run(self.parent, "FAILED")

    def finish(self) -> None:
        """End a search with what it found: the best trial, what decided, and all trials."""
        with tempfile.TemporaryDirectory() as folder:
            _write_report(self._study, Path(folder))
            self._registry.end_run(self.parent, "FINISHED", Path(folder))


def _write_report(study: Study, folder: Path) -> None:
    """best.json, trials.csv, history.png and, of two results or more, importance.png.

    The best parameters are a file: a run's parameters have one value for good, and a search may go on with a larger budget.
    """
    from optuna.importance import get_param_importances

    best = {"trial": study.best_trial.number, "loss": study.best_value, "parameters": study.best_params}
    (folder / "best.json").write_text(json.dumps(best, indent=2))
    done = completed(study)
    losses = [(trial.number, float(trial.values[0])) for trial in done]
    (folder / "history.png").write_bytes(best_so_far(losses, f"{study.study_name}, {len(losses)} trials to their end"))
    if len({loss for _, loss in losses}) > 1:
        importance = get_param_importances(study)
        (folder / "importance.png").write_bytes(shares(importance, "Share of what decided", "Parameter importance"))
    rows = [_row(trial) for trial in ended(study)]
    with (folder / "trials.csv").open("w", newline="") as file:
        # A trial that was killed while it was asked for lacks some of the parameters.
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)


def _row(trial: FrozenTrial) -> dict[str, Any]:
    """A trial as the table shows it; the loss of a pruned one is the last that was told."""
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "loss": trial.value,
        "rounds": trial.user_attrs.get(ROUNDS),
        "seconds": round(trial.duration.total_seconds(), 3) if trial.duration else None,
        "reason": trial.user_attrs.get(REASON, KILLED if trial.state.name == "FAIL" else ""),
        **dict(sorted(trial.params.items())),
    }
