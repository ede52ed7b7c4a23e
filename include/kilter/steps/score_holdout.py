"""Score the rows that the gate judges by: candidate and champion side by side, once for all checks."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator

from kilter.champion import champion_of
from kilter.labelled_rows import labelled_rows, reach
from kilter.spec import UtcTime
from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    import pandas as pd

    from kilter.stores.registry import ModelVersion

STEP = StepInfo(
    stores=frozenset({"objects", "features", "ledger", "registry"}),
    reads=("entity", "timestamp", "label", "features", "training", "gate"),
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

    Raises:
        InputError: the champion's alias was lost, or there is neither `as_of` nor a passed batch.
        DataError: a model or a snapshot was never committed, or was altered.
        UnavailableError: MLflow or the ledger does not answer.
    """
    from kilter.core.uncertainty.looks import confidence_at
    from kilter.holdout import ROWS_FILE, SCORES_FILE, Facts
    from kilter.stores.models import read_part
    from kilter.stores.objects import commit_dataset
    from kilter.stores.parquet import frame_to_parquet

    spec = context.spec
    candidate = context.registry.version(spec.name, inputs.version)
    champion = _champion(candidate, context)
    as_of = inputs.as_of or reach(spec, context.ledger)
    test = read_part(context.objects, candidate.snapshot, "test")
    rows = _with_later(test, candidate, as_of, context)
    look = _look(candidate, as_of, context)
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
        prior=float(read_part(context.objects, candidate.snapshot, "train")[spec.label.column].mean()),
        unseen_from=_test_start(champion, context) if champion else None,
        look=look,
        confidence=confidence_at(look, spec.gate.confidence),
    )
    files = {
        ROWS_FILE: frame_to_parquet(rows),
        SCORES_FILE: frame_to_parquet(_scores(rows, candidate, champion, context)),
    }
    manifest = commit_dataset(context.objects, f"holdouts/{spec.name}", files, facts.model_dump(mode="json"))
    context.log.info(
        "%d rows from %s to %s, %d of them newer than the snapshot; champion: %s; look %d, intervals of %g %%",
        facts.rows, facts.start, facts.end, facts.new_rows, facts.champion or "none", look, facts.confidence * 100,
    )  # fmt: skip
    return Outputs(holdout=manifest.key, rows=facts.rows)


def _champion(candidate: ModelVersion, context: StepContext) -> ModelVersion | None:
    """The version to compare with; None when there is none, or when it is the candidate itself."""
    champion = champion_of(context.spec.name, context.registry, context.ledger)
    if champion is None or champion == candidate.version:
        return None
    return context.registry.version(context.spec.name, champion)


def _look(candidate: ModelVersion, as_of: datetime, context: StepContext) -> int:
    """How often the candidate has been judged by fewer labels, and once more; the same labels again are the same look."""
    rows = context.ledger.verdicts(context.spec.name)
    own = [row for row in rows if row["version"] == candidate.version and row["as_of"] and row["verdict"] != "error"]
    return 1 + len({row["as_of"] for row in own if row["as_of"] < as_of})


def _with_later(test: pd.DataFrame, candidate: ModelVersion, as_of: datetime, context: StepContext) -> pd.DataFrame:
    """The test part, and the rows from its first on whose labels reached us only after the snapshot."""
    import pandas as pd

    from kilter.stores.objects import read_manifest

    spec = context.spec
    if as_of <= datetime.fromisoformat(read_manifest(context.objects, candidate.snapshot).facts["as_of"]):
        return test
    known, _ = labelled_rows(context, as_of, test[spec.timestamp].iloc[0])
    keys = [spec.entity, spec.timestamp]
    later = known[~pd.MultiIndex.from_frame(known[keys]).isin(pd.MultiIndex.from_frame(test[keys]))]
    if later.empty:
        return test
    return pd.concat([test, later[test.columns]]).sort_values([spec.timestamp, spec.entity], ignore_index=True)


def _test_start(version: ModelVersion, context: StepContext) -> datetime:
    """Event time of the first row that a version learned nothing from."""
    from kilter.stores.models import read_part

    start: datetime = read_part(context.objects, version.snapshot, "test")[context.spec.timestamp].iloc[0]
    return start


def _scores(
    rows: pd.DataFrame, candidate: ModelVersion, champion: ModelVersion | None, context: StepContext
) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    from kilter.stores.models import load_model

    return pd.DataFrame(
        {
            "candidate": load_model(context.objects, candidate.key).score(rows),
            "champion": load_model(context.objects, champion.key).score(rows)
            if champion
            else np.full(len(rows), np.nan),
        }
    )
