"""Score the rows that the gate judges by: candidate and champion side by side, once for all checks."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator

from kilter.champion import champion_of
from kilter.errors import InputError
from kilter.labelled_rows import labelled_rows, reach
from kilter.spec import UtcTime
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    import pandas as pd

    from kilter.core.sanity.prior import Prior
    from kilter.stores.registry import ModelVersion

STEP = StepInfo(
    stores=frozenset({"objects", "features", "ledger", "registry"}),
    reads=("entity", "timestamp", "label", "features", "training", "evaluation", "gate"),
    memoised=False,
)


class Inputs(StepModel):
    version: int
    as_of: Annotated[UtcTime | None, BeforeValidator(lambda value: value or None)] = None
    """Event time up to which labels count. Null or empty: the end of the newest interval whose batch passed."""


class Outputs(StepModel):
    """The holdout's key, and how many rows it has."""

    holdout: str
    rows: int


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Commit `holdouts/<model>/<digest>`: the candidate's test part, the labelled rows since, and all scores.

    The rows are those that the candidate learned nothing from. With a later `as_of` there are more of them,
    so that a held candidate can be judged again without training it again. The champion is scored anew on
    the same rows; its stored metrics are never trusted.

    Labels that the candidate's snapshot knew are never left out, whatever `as_of` says.

    Raises:
        InputError: the champion's alias was lost, the version is the champion itself, there is neither `as_of` nor a
            passed batch, model.yaml lost a feature that the candidate needs for later rows, or another task now.
        DataError: a model or a snapshot was never committed, or was altered.
        UnavailableError: MLflow or the ledger does not answer.
    """
    from kilter.core.uncertainty.looks import confidence_at
    from kilter.holdout import ROWS_FILE, SCORES_FILE, Facts
    from kilter.stores.models import read_part
    from kilter.stores.objects import commit_dataset, read_manifest, sha256
    from kilter.stores.parquet import frame_to_parquet

    spec = context.spec
    candidate = context.registry.version(spec.name, inputs.version)
    champion = _champion(candidate, context)
    frozen = datetime.fromisoformat(read_manifest(context.objects, candidate.snapshot).facts["as_of"])
    as_of = max(inputs.as_of or reach(spec, context.ledger), frozen)
    test = read_part(context.objects, candidate.snapshot, "test")
    rows = test if as_of == frozen else _with_later(test, candidate, as_of, context)
    content = frame_to_parquet(rows)
    look = _look(candidate, sha256(content), context)
    scores, incomparable = _scores(rows, candidate, champion, context)
    facts = Facts(
        version=candidate.version,
        model=candidate.key,
        digest=candidate.digest,
        snapshot=candidate.snapshot,
        champion=champion.version if champion else None,
        as_of=as_of,
        start=rows[spec.timestamp].iloc[0],
        end=rows[spec.timestamp].iloc[-1],
        rows=len(rows),
        new_rows=len(rows) - len(test),
        prior=_prior(candidate, context),
        unseen_from=_test_start(champion, context) if champion and not incomparable else None,
        incomparable=incomparable,
        look=look,
        confidence=confidence_at(look, spec.gate.confidence),
    )
    files = {ROWS_FILE: content, SCORES_FILE: frame_to_parquet(scores)}
    manifest = commit_dataset(context.objects, f"holdouts/{spec.name}", files, facts.model_dump(mode="json"))
    context.log.info(
        "%d rows from %s to %s, %d of them newer than the snapshot; champion: %s; look %d, intervals of %g %%",
        facts.rows, facts.start, facts.end, facts.new_rows, facts.champion or "none", look, facts.confidence * 100,
    )  # fmt: skip
    return Outputs(holdout=manifest.key, rows=facts.rows)


def _champion(candidate: ModelVersion, context: StepContext) -> ModelVersion | None:
    """The version to compare with; None when there is none."""
    champion = champion_of(context.spec.name, context.registry, context.ledger)
    if champion == candidate.version:
        raise InputError(f"model '{context.spec.name}': version {champion} is the champion already: judge another one")
    if champion is None:
        return None
    return context.registry.version(context.spec.name, champion)


def _look(candidate: ModelVersion, digest: str, context: StepContext) -> int:
    """How many sets of rows the candidate has been judged by, this one counted; the same rows again are no new look."""
    from kilter.holdout import ROWS_FILE
    from kilter.stores.objects import read_manifest

    rows = context.ledger.verdicts(context.spec.name)
    own = [row for row in rows if row["version"] == candidate.version and row["holdout"] and row["verdict"] != "error"]
    return len({digest, *(read_manifest(context.objects, row["holdout"]).files[ROWS_FILE] for row in own)})


def _with_later(test: pd.DataFrame, candidate: ModelVersion, as_of: datetime, context: StepContext) -> pd.DataFrame:
    """The test part, and the rows from its first on whose labels reached us only after the snapshot."""
    import pandas as pd

    spec = context.spec
    known, _ = labelled_rows(context, as_of, test[spec.timestamp].iloc[0])
    keys = [spec.entity, spec.timestamp]
    later = known[~pd.MultiIndex.from_frame(known[keys]).isin(pd.MultiIndex.from_frame(test[keys]))]
    if later.empty:
        return test
    if lost := sorted(set(test.columns) - set(later.columns)):
        raise InputError(
            f"model '{spec.name}' version {candidate.version} takes {', '.join(lost)}, which features.columns does not "
            "name any more, so that newer rows have none: train again"
        )
    return pd.concat([test, later[test.columns]]).sort_values([spec.timestamp, spec.entity], ignore_index=True)


def _prior(candidate: ModelVersion, context: StepContext) -> Prior:
    """What the candidate's train part says of every row."""
    from kilter.core.sanity.prior import prior
    from kilter.encoding import encode_labels
    from kilter.stores.models import read_part

    spec = context.spec
    train = read_part(context.objects, candidate.snapshot, "train")
    labels = encode_labels(train[spec.label.column], spec.label.classes)
    return prior(labels, len(spec.label.classes), spec.evaluation.primary)


def _test_start(version: ModelVersion, context: StepContext) -> datetime:
    """Event time of the first row that a version learned nothing from."""
    from kilter.stores.models import read_part

    start: datetime = read_part(context.objects, version.snapshot, "test")[context.spec.timestamp].iloc[0]
    return start


def _scores(
    rows: pd.DataFrame, candidate: ModelVersion, champion: ModelVersion | None, context: StepContext
) -> tuple[pd.DataFrame, str]:
    """The scores of both, and why the champion has none on these rows; empty where it has, or there is no champion."""
    import numpy as np
    import pandas as pd

    from kilter.scores import in_order, to_column
    from kilter.stores.models import load_model

    spec, incomparable = context.spec, ""
    own = load_model(context.objects, candidate.key)
    if own.signature.task != spec.task:
        raise InputError(
            f"model '{spec.name}' version {candidate.version} is {own.signature.task}, and model.yaml says task: {spec.task}: "
            "train again"
        )
    scores = in_order(own.score(rows), own.signature.classes, spec.label.classes)
    others = np.full_like(scores, np.nan)
    if champion is not None:
        model = load_model(context.objects, champion.key)
        if model.signature.task != spec.task:
            incomparable = f"it is {model.signature.task}, and model.yaml says task: {spec.task}"
        elif lost := sorted(set(model.signature.names) - set(rows.columns)):
            incomparable = f"it takes {', '.join(lost)}, which the candidate's rows do not have"
        else:
            others = in_order(model.score(rows), model.signature.classes, spec.label.classes)
    return pd.DataFrame({"candidate": to_column(scores), "champion": to_column(others)}), incomparable
