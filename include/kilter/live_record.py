"""The record of a live model: what each of its champions lost on each ingested window, made from the stores.

A backtest makes the same `kilter.core.record.Record` from a history that it replays; what follows from it is the same code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kilter.core.scope import Scope
from kilter.errors import DataError, InputError
from kilter.step import StepContext

if TYPE_CHECKING:
    from sqlalchemy.engine import RowMapping

    from kilter.backtest.history import History
    from kilter.core.record import Learner, Past, Record, Vector
    from kilter.stores.models import Model

CHANGED = "changed"
"""Key in a decision's evidence: when the world last changed, as known then; null where it never did."""
CHAMPION = "champion"
"""Key in a decision's evidence: the champion of that time."""


def live_record(now: datetime, champion: int, context: StepContext) -> Record | None:
    """The record as it is known at an event time; None where history is too short, or lacks what a champion takes.

    Its models are those that were champions, as no other may be one without the gate.

    Raises:
        DataError: a model or a snapshot is damaged.
    """
    from kilter.backtest.recorded import recorded
    from kilter.core.record import Record

    try:
        history = recorded(context, last=now, initial=1)
    except (DataError, InputError) as error:
        context.log.info("no record of losses yet: %s", error)
        return None
    decisions = context.ledger.decisions(context.spec.name)
    made = _Maker(history, decisions, context)
    versions = dict.fromkeys([*context.ledger.champions(context.spec.name), champion])
    learners = [item for item in map(made.learner, versions) if item is not None]
    if champion not in {item.version for item in learners}:
        return None
    end = len(history.spans) - 1
    return Record(
        spans=history.spans,
        names=history.names,
        labels=[history.labels[history.window(place)][history.known(place, end)] for place in range(end + 1)],
        learners=learners,
        champion=champion,
        since=made.since(champion),
        changed=made.changed(),
        trainings=made.trainings(learners),
        classes=context.spec.task != "regression",
    )


class _Maker:
    """Makes the parts of a record from a history and what was decided."""

    def __init__(self, history: History, decisions: Sequence[RowMapping], context: StepContext) -> None:
        from kilter.core.record import guess_loss

        self._history = history
        self._decisions = decisions
        self._context = context
        spec = context.spec
        first = history.labels[history.window(0)]
        self._guess = guess_loss(spec.task, spec.evaluation.primary, first, max(2, len(spec.label.classes)))
        self._ends = {end: place for place, (_, end) in enumerate(history.spans)}

    def learner(self, version: int) -> Learner | None:
        """One model; None where it learned from no window of the history, or takes a feature that is not there."""
        from kilter.core.record import Learner
        from kilter.encoding import encode_labels
        from kilter.stores.models import load_model, read_part
        from kilter.stores.objects import read_manifest

        context, history = self._context, self._history
        found = context.registry.version(context.spec.name, version)
        facts = read_manifest(context.objects, found.snapshot).facts
        windows = _windows(history, facts)
        model = load_model(context.objects, found.key)
        if not windows or set(model.signature.names) - set(history.frame.columns):
            return None
        test = read_part(context.objects, found.snapshot, "test")
        labels = encode_labels(test[context.spec.label.column].tolist(), model.signature.classes)
        return Learner(
            version=version,
            kind=Scope.model_validate(facts.get("scope", {})).kind,
            windows=windows,
            test=self._losses(labels, model.score(test)),
            test_labels=labels,
            losses=self._on_fresh(model, windows[-1] + 1),
            kept=self._kept(version),
        )

    def since(self, champion: int) -> int:
        """The window after which the champion was brought back; 0 where it came from a training."""
        newest: RowMapping | None = None
        for row in self._decisions:
            if row["action"] in ("retrain", "redeploy"):
                newest = row
        back = newest is not None and (newest["action"], newest["version"]) == ("redeploy", champion)
        return self._ends.get(newest["event_time"], 0) if newest is not None and back else 0

    def changed(self) -> int:
        """The window in which the world last changed, as decisions before found."""
        begins = {start.isoformat(): place for place, (start, _) in enumerate(self._history.spans)}
        return max((begins.get(row["evidence"].get(CHANGED) or "", 0) for row in self._decisions), default=0)

    def trainings(self, learners: Iterable[Learner]) -> list[Past]:
        """The trainings that made a champion after another one, oldest first."""
        from kilter.core.record import Past

        context, known = self._context, {item.version: item for item in learners}
        found = []
        for version in sorted(known):
            before = context.registry.tags(context.spec.name, version).get("predecessor") or "0"
            if int(before) not in known:
                continue
            place = known[version].learned
            found.append(Past(place, version, int(before), self._by_decay(place)))
        return found

    def _by_decay(self, place: int) -> bool:
        """Whether what went into the decision to train, after that window, was quality that decayed."""
        end = self._history.spans[place][1]
        rows = [row for row in self._decisions if row["action"] == "retrain" and row["event_time"] == end]
        told = [item for row in rows for item in _told(row)]
        return any(item["name"] in ("decay", "performance") and item["verdict"] == "failed" for item in told)

    def _kept(self, version: int) -> frozenset[int]:
        """Windows after which this champion was found to be as good as ever."""
        return frozenset(
            self._ends[row["event_time"]]
            for row in self._decisions
            if row["evidence"].get(CHAMPION) == version
            and row["event_time"] in self._ends
            and any(item["name"] == "decay" and item["verdict"] == "passed" for item in _told(row))
        )

    def _on_fresh(self, model: Model, first: int) -> dict[int, Vector]:
        history, end = self._history, len(self._history.spans) - 1
        found = {}
        for place in range(first, end + 1):
            rows, known = history.window(place), history.known(place, end)
            if known.any():
                scores = model.score(history.frame.iloc[rows][known])
                found[place] = self._losses(history.labels[rows][known], scores)
        return found

    def _losses(self, labels: Vector, scores: Vector) -> Vector:
        from kilter.core.record import row_losses

        spec = self._context.spec
        return row_losses(spec.task, spec.evaluation.primary, labels, scores.astype(float)) / self._guess


def _windows(history: History, facts: dict[str, Any]) -> tuple[int, ...]:
    """The windows that a snapshot holds rows of."""
    as_of, scope = datetime.fromisoformat(facts["as_of"]), Scope.model_validate(facts.get("scope", {}))
    return tuple(
        place
        for place, (start, end) in enumerate(history.spans)
        if start < as_of and (not scope.spans or any(start < until and end > since for since, until in scope.spans))
    )


def _told(row: RowMapping) -> list[dict[str, Any]]:
    judgements: list[dict[str, Any]] = row["evidence"].get("judgements", [])
    return judgements
