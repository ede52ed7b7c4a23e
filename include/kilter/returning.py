"""Former champions beside the champion on a window's rows: who could come back?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kilter.core.arbiter import Rival
from kilter.core.verdict import Verdict
from kilter.step import StepContext

if TYPE_CHECKING:
    import pandas as pd

    from kilter.core.drift.window import Window
    from kilter.core.regimes import Likeness, Regime
    from kilter.stores.models import Model


def rivals(window: Window, champion: int, versions: Iterable[int], context: StepContext) -> tuple[Rival, ...]:
    """Compare former champions with the champion: by the window's labels where they suffice, else by fingerprints.

    Args:
        versions: the former champions.

    Raises:
        DataError: a model is damaged.
    """
    models, lost = _models([champion, *versions], window, context)
    own = models.pop(champion, None)
    if own is None or not models:
        return lost
    labelled = window.frame[window.frame[context.spec.label.column].notna()]
    if len(labelled) >= context.spec.drift.minimum_rows:
        found = _by_labels(labelled, champion, own, models, context)
        if any(rival.verdict is not Verdict.INCONCLUSIVE or rival.gain is not None for rival in found):
            return (*found, *lost)
    return (*_by_fingerprint(window.frame, champion, own, models, context), *lost)


def _models(
    versions: Iterable[int], window: Window, context: StepContext
) -> tuple[dict[int, Model], tuple[Rival, ...]]:
    """The models that can score the window's rows, and those that cannot, with what they miss."""
    from kilter.stores.models import load_model

    found, lost = {}, []
    for version in dict.fromkeys(versions):
        model = load_model(context.objects, context.registry.version(context.spec.name, version).key)
        if missing := sorted(set(model.signature.names) - set(window.frame.columns)):
            reason = f"version {version} takes {', '.join(missing)}, which the requests did not have: not comparable"
            lost.append(Rival(version=version, basis="labels", verdict=Verdict.ERROR, reason=reason))
        else:
            found[version] = model
    return found, tuple(lost)


def _by_labels(
    rows: pd.DataFrame, champion: int, own: Model, others: dict[int, Model], context: StepContext
) -> list[Rival]:
    from kilter.core.rivals import by_labels
    from kilter.core.uncertainty.blocks import blocks_of
    from kilter.encoding import encode_labels

    spec, name = context.spec, context.spec.name
    metric = spec.evaluation.primary
    once = {version: context.registry.version(name, version).metrics.get(metric) for version in others}
    return by_labels(
        metric,
        encode_labels(rows[spec.label.column].tolist(), spec.label.classes),
        own.score(rows),
        {version: model.score(rows) for version, model in others.items()},
        once,
        blocks_of(rows[spec.timestamp].dt.tz_localize(None).to_numpy(), spec.evaluation.block),
        spec.gate.confidence,
        spec.drift.allowed_decay,
        context.seed,
    )


def _by_fingerprint(
    rows: pd.DataFrame, champion: int, own: Model, others: dict[int, Model], context: StepContext
) -> list[Rival]:
    from kilter.core.regimes import Regime
    from kilter.core.rivals import by_fingerprint

    known = {
        version: Regime.model_validate(item) for version, item in context.ledger.regimes(context.spec.name).items()
    }
    near = {
        version: _likeness(version, known[version], rows, model)
        for version, model in {champion: own, **others}.items()
        if version in known
    }
    return by_fingerprint(near.pop(champion, None), [item for item in near.values() if item is not None])


def _likeness(version: int, known: Regime, rows: pd.DataFrame, model: Model) -> Likeness | None:
    from kilter.core.regimes import fingerprint, likeness
    from kilter.regime_rows import columns_of

    return likeness(version, known, fingerprint(columns_of(rows, model.signature.features, model.score(rows))))
