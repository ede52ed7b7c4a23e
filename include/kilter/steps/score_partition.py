"""Score one partition of a table, with the features that were known at each row's time."""

from __future__ import annotations

from kilter.environment import environment_digest
from kilter.errors import UnavailableError
from kilter.step import StepContext, StepInfo, StepModel, code_digest

# Not memoised: the scores follow from the features that exist. What was scored already is found by its request.
STEP = StepInfo(
    stores=frozenset({"objects", "features", "tables"}),
    reads=("entity", "timestamp", "features", "serving"),
    memoised=False,
)


class Inputs(StepModel):
    """As `list_partitions` gives them."""

    table: str
    partition: str
    version: int
    model: str
    snapshot: str
    again: bool = False


class Outputs(StepModel):
    scores: str
    """Key of the scores."""
    rows: int
    without_features: int


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Commit `scores/<model>/<digest of the request>`, or find it committed.

    Of the partition only entity and event time are read; features that it holds are never trusted. Each row is answered,
    in the file's order, also where a pair of entity and time stands twice. Killed at any time, the step leaves parts
    without a manifest, which the next run writes again with the same bytes; so do two runs at once.

    Raises:
        DataError: the partition is unreadable, lacks a column or a value; a model was altered; no features were ever built.
        InputError: model.yaml lost a feature that the version takes.
        UnavailableError: S3 does not answer; or features were built anew, or the partition was replaced, meanwhile.
    """
    from kilter.batch_scoring import ROWS_A_PART, Scorer, score_partition
    from kilter.stores.models import load_model
    from kilter.stores.score_sets import Request, commit_scores, committed
    from kilter.stores.tables import open_partition

    spec, objects = context.spec, context.objects
    scorer = Scorer(load_model(objects, inputs.model), spec, inputs.version)
    with open_partition(objects, inputs.partition, spec) as partition:
        span = partition.span()
        request = Request(
            name=spec.name,
            version=inputs.version,
            model=inputs.model,
            snapshot=inputs.snapshot,
            table=inputs.table,
            partition=inputs.partition,
            content=partition.digest,
            features=context.features.digests(*span) if span else {},
            spec=spec.digest("entity", "timestamp", "features", "serving"),
            rows_a_part=ROWS_A_PART,
            code=code_digest(context.folder),
            environment=environment_digest(),
        )
        found = None if inputs.again else committed(objects, request)
        if found is not None:
            context.log.info("%s is scored already: %s", inputs.partition, objects.uri(request.key))
        else:
            found = score_partition(partition, request, scorer, context.features, objects, context.log)
            partition.refuse_replaced()
            if span and context.features.digests(*span) != request.features:
                raise UnavailableError(
                    f"model '{spec.name}': {spec.name}.feature_ingestion built an interval anew while it was read: try again"
                )
            commit_scores(objects, found)
    return Outputs(scores=request.key, rows=found.rows, without_features=found.without_features)
