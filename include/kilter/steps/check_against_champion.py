"""Gate check: candidate and champion scored on the same rows, those of the candidate's test part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kilter.champion import champion_of
from kilter.gate_check import Inputs as Inputs
from kilter.gate_check import Outputs as Outputs
from kilter.step import StepContext, StepInfo

if TYPE_CHECKING:
    import pandas as pd

STEP = StepInfo(
    stores=frozenset({"objects", "ledger", "registry"}),
    reads=("gate", "evaluation", "training", "label"),
    memoised=False,
)


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Re-score the champion, never trust its stored number. Without a champion that is said.

    Raises:
        InputError: the champion's alias was lost.
    """
    from kilter.core.gate.against_champion import judge, no_champion
    from kilter.stores.models import read_part

    spec = context.spec
    champion = champion_of(spec.name, context.registry, context.ledger)
    if champion is None or champion == inputs.version:
        judgement = no_champion()
    else:
        candidate = context.registry.version(spec.name, inputs.version)
        rows = read_part(context.objects, candidate.snapshot, "test")
        judgement = judge(
            spec.evaluation.primary,
            _score(candidate.version, rows, context),
            _score(champion, rows, context),
            len(rows),
            spec.gate.against_champion,
        )
    context.log.info("%s: %s", judgement.verdict, judgement.reason)
    return Outputs(judgement=judgement)


def _score(version: int, rows: pd.DataFrame, context: StepContext) -> float | None:
    from kilter.core.metrics import measure
    from kilter.stores.models import load_model

    spec = context.spec
    metric = spec.evaluation.primary
    model = load_model(context.objects, context.registry.version(spec.name, version).key)
    return measure([metric], rows[spec.label.column].to_numpy(float), model.score(rows)).get(metric)
