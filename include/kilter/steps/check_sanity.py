"""Gate check: does the model do anything that no sane model does?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kilter.gate_check import Inputs as Inputs
from kilter.gate_check import Outputs as Outputs
from kilter.step import StepContext, StepInfo

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from kilter.core.gate.sanity import Evidence
    from kilter.core.uncertainty.estimate import Estimate
    from kilter.holdout import Holdout
    from kilter.spec import ModelSpec
    from kilter.stores.models import Model

    Scores = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.intp]

STEP = StepInfo(reads=("evaluation", "gate", "label", "timestamp"))

_SAMPLE = 100_000
"""Rows of the train part and of the holdout that features are measured on alone: bounds time and memory."""

_PROBED = 100
"""Rows of the holdout that rare input is tried on."""


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Judge scores, rare input, the training's curve, naive baselines, and what each feature reaches alone.

    Raises:
        DataError: the holdout, the snapshot or the model was never committed, or was altered.
    """
    from kilter.core.gate.sanity import judge
    from kilter.holdout import read_holdout
    from kilter.stores.models import load_model

    spec = context.spec
    holdout = read_holdout(context.objects, inputs.holdout, spec)
    evidence = _measure(holdout, load_model(context.objects, holdout.facts.model), context)
    judgement = judge(evidence, spec.evaluation.primary, spec.gate.sanity)
    context.log.info("%s: %s", judgement.verdict, judgement.reason)
    return Outputs(judgement=judgement)


def _measure(holdout: Holdout, model: Model, context: StepContext) -> Evidence:
    import numpy as np

    from kilter.core.gate.sanity import Evidence
    from kilter.core.metrics import measure
    from kilter.core.sanity.prior import guesses
    from kilter.core.sanity.probes import probes, unscored
    from kilter.core.sanity.scores import is_score, spread
    from kilter.encoding import encode_labels
    from kilter.stores.models import encode_frame, loss_of, losses_of, read_part
    from kilter.stores.objects import read_manifest

    spec = context.spec
    train = read_part(context.objects, holdout.facts.snapshot, "train")
    train = train.iloc[_evenly(len(train), _SAMPLE)]
    validation = read_part(context.objects, holdout.facts.snapshot, "validation")
    rows = encode_frame(holdout.frame.iloc[_evenly(len(holdout.labels), _PROBED)], model.signature)
    tried = list(probes(encode_frame(train, model.signature), model.signature))
    baselines = _baselines(holdout, validation, spec)
    wrong = np.flatnonzero(~is_score(holdout.candidate, spec.task))
    labels = encode_labels(validation[spec.label.column], spec.label.classes)
    manifest = read_manifest(context.objects, holdout.facts.model)
    loss = loss_of(manifest)
    return Evidence(
        rows=len(holdout.labels),
        task=spec.task,
        wrong=len(wrong),
        first_wrong=_named(holdout, wrong[0], model.signature.entity) if len(wrong) else "",
        spread=spread(holdout.candidate, spec.task),
        probes=len(tried),
        unscored=unscored(tried, model.predictor.predict, rows, spec.task),
        losses=losses_of(manifest),
        start=measure([loss], labels, guesses(holdout.facts.prior, len(labels)))[loss],
        baselines=baselines,
        shares=_shares(holdout, train, model, spec) if _surely_gains(baselines["prior"]) else {},
    )


def _named(holdout: Holdout, row: int, entity: str) -> str:
    from kilter.core.sanity.scores import in_words

    return f"{entity} '{holdout.frame[entity].iloc[row]}', which scores {in_words(holdout.candidate[row])}"


def _baselines(holdout: Holdout, validation: pd.DataFrame, spec: ModelSpec) -> dict[str, Estimate | None]:
    """How much worse the candidate is than the prior of its train part, and than the last label known to a row."""
    from kilter.core.uncertainty.estimate import loss

    naive = {
        "prior": holdout.guesses,
        "last value": _last_values(holdout, validation, spec),
    }
    return {
        name: loss(
            spec.evaluation.primary,
            holdout.labels,
            holdout.candidate,
            scores,
            holdout.blocks(spec.evaluation.block),
            holdout.facts.confidence,
        )
        for name, scores in naive.items()
    }


def _last_values(holdout: Holdout, validation: pd.DataFrame, spec: ModelSpec) -> Scores:
    """The last label known to each row, of many classes as sure of it as can be."""
    import numpy as np
    import pandas as pd

    from kilter.core.sanity.last_value import last_values
    from kilter.encoding import encode_labels

    columns = [spec.timestamp, spec.label.column, spec.label.timestamp]
    past = pd.concat([validation[columns], holdout.frame[columns]])
    labels, classes = encode_labels(past[spec.label.column], spec.label.classes), len(spec.label.classes)
    return last_values(
        holdout.times,
        past[spec.timestamp].dt.tz_localize(None).to_numpy("datetime64[us]"),
        np.eye(classes)[labels.astype(int)] if classes else labels,
        (past[spec.label.timestamp] + spec.label.delay).dt.tz_localize(None).to_numpy("datetime64[us]"),
        holdout.facts.prior,
    )


def _surely_gains(loss: Estimate | None) -> bool:
    return loss is not None and loss.high < 0


def _shares(holdout: Holdout, train: pd.DataFrame, model: Model, spec: ModelSpec) -> dict[str, float]:
    """The share of the model's gain over the prior that each feature reaches alone; empty for a sample of one label."""
    import numpy as np

    from kilter.core.sanity.leak import gain, gains_alone
    from kilter.core.sanity.prior import prior
    from kilter.stores.models import to_part

    metric = spec.evaluation.primary
    shown = _evenly(len(holdout.labels), _SAMPLE)
    learnt = to_part(train, model.signature, spec.label.column)
    judged = to_part(holdout.frame.iloc[shown], model.signature, spec.label.column)
    if len(np.unique(judged.labels)) < 2:
        return {}
    guess = prior(learnt.labels, len(model.signature.classes), metric)
    whole = gain(metric, judged.labels, holdout.candidate[shown], guess)
    alone = gains_alone(metric, learnt.rows, learnt.labels, judged.rows, judged.labels, model.signature)
    return {name: value / whole for name, value in alone.items()}


def _evenly(rows: int, most: int) -> Rows:
    """The places of at most that many rows, evenly spread over all."""
    import numpy as np

    return np.arange(rows) if rows <= most else np.linspace(0, rows - 1, most).astype(np.intp)
