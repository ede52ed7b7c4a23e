"""What is known of the champion, and who could come back: a report's judgements, the record of losses, and fingerprints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from kilter.core.arbiter import Rival
from kilter.core.scope import Scope
from kilter.core.verdict import Judgement, Verdict
from kilter.live_record import live_record
from kilter.step import StepContext

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy.engine import RowMapping

    from kilter.core.record import Record
    from kilter.core.regimes import Likeness, Regime
    from kilter.stores.models import Model


@dataclass(frozen=True)
class Found:
    """What goes into the arbiter's evidence; `changed` is since when the world is another, None where it is not."""

    champion: int | None = None
    judgements: tuple[Judgement, ...] = ()
    rivals: tuple[Rival, ...] = ()
    scope: Scope = field(default_factory=Scope)
    trained_labels: int = 0
    in_vain: int = 0
    changed: datetime | None = None


def evidence_of(report: RowMapping | None, now: datetime, context: StepContext) -> Found:
    """Gather it: with fresh labels all champions are held against the record, without them against fingerprints.

    A report on a window that another version served most of tells nothing of the champion, and is left out.

    Raises:
        DataError: a model, a snapshot or the window is damaged.
    """
    champion = context.registry.champion(context.spec.name)
    served = report["summary"]["version"] if report is not None else None
    judged: tuple[Judgement, ...] = ()
    if report is not None and (champion is None or served in (None, champion)):
        judged = tuple(Judgement.model_validate(item) for item in report["summary"]["judgements"])
    elif report is not None:
        context.log.info(
            "version %s served most of this window, and version %s is the champion since", served, champion
        )
    if champion is None:
        return Found(judgements=judged)
    tried = _came_back_in_vain(now, context)
    found = _by_record(live_record(now, champion, context), champion, judged, now, context)
    if not found.rivals and report is not None and any(item.verdict is Verdict.FAILED for item in judged):
        versions = [item for item in context.ledger.champions(context.spec.name) if item != champion]
        rivals = _by_fingerprint(report["summary"]["window"], champion, versions, context)
    else:
        rivals = found.rivals
    for rival in rivals:
        again = "; it was brought back and had to go: not so soon again" if rival.version in tried else ""
        context.log.info("version %d by %s: %s: %s%s", rival.version, rival.basis, rival.verdict, rival.reason, again)
    return Found(**{**vars(found), "rivals": tuple(rival for rival in rivals if rival.version not in tried)})


def _by_record(
    record: Record | None, champion: int, judged: tuple[Judgement, ...], now: datetime, context: StepContext
) -> Found:
    """What follows from the losses of all champions on all windows, by the same code as in a backtest."""
    from kilter.core.examine import examine

    if record is None:
        return Found(champion=champion, judgements=judged)
    told = examine(record, context.spec.arbiter, any(item.verdict is Verdict.FAILED for item in judged))
    fresh = record.spans[record.now][1] == now and len(record.labels[-1]) >= context.spec.drift.minimum_rows
    return Found(
        champion=champion,
        judgements=(*judged, *(item for item in told.judgements if _says(item))),
        rivals=told.rivals if fresh else (),
        scope=told.scope,
        trained_labels=told.trained_labels,
        in_vain=told.in_vain,
        changed=None if told.changed is None else record.spans[told.changed][0],
    )


def _says(judgement: Judgement) -> bool:
    return judgement.verdict is not Verdict.INCONCLUSIVE


def _came_back_in_vain(now: datetime, context: StepContext) -> set[int]:
    """Versions that were brought back within the last cooldown and rolled back: who tries them again goes to and fro."""
    name, ledger = context.spec.name, context.ledger
    lately = {
        row["id"]
        for row in ledger.decisions(name)
        if row["action"] == "redeploy" and now - row["event_time"] <= context.spec.arbiter.cooldown
    }
    return {
        row["candidate"] for row in ledger.rollouts(name) if row["decision"] in lately and row["state"] == "rolled_back"
    }


def _by_fingerprint(window: str, champion: int, versions: Iterable[int], context: StepContext) -> tuple[Rival, ...]:
    """Former champions by whose regime the window's rows look like."""
    from kilter.core.regimes import Regime
    from kilter.core.rivals import by_fingerprint
    from kilter.stores.models import load_model
    from kilter.stores.windows import read_window

    spec, known = context.spec, context.ledger.regimes(context.spec.name)
    rows = read_window(context.objects, spec, window).frame
    near: dict[int, Likeness | None] = {}
    for version in {champion, *versions} & known.keys():
        model = load_model(context.objects, context.registry.version(spec.name, version).key)
        if set(model.signature.names) <= set(rows.columns):
            near[version] = _likeness(version, Regime.model_validate(known[version]), rows, model)
    return tuple(by_fingerprint(near.pop(champion, None), [item for item in near.values() if item is not None]))


def _likeness(version: int, known: Regime, rows: pd.DataFrame, model: Model) -> Likeness | None:
    from kilter.core.regimes import fingerprint, likeness
    from kilter.regime_rows import columns_of

    return likeness(version, known, fingerprint(columns_of(rows, model.signature.features, model.score(rows))))
