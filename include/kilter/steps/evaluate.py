"""Evaluate a model on the snapshot's test part, overall and by slice, with plots."""

from __future__ import annotations

from kilter.step import StepContext, StepInfo, StepModel

STEP = StepInfo(reads=("evaluation", "label"))


class Inputs(StepModel):
    """A snapshot and a model trained on it."""

    snapshot: str
    model: str


class Outputs(StepModel):
    """The evaluation's key, and the overall metrics."""

    evaluation: str
    metrics: dict[str, float]


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Score the test part, which no training saw, and commit evaluation.json and the plots."""
    from kilter import plots
    from kilter.core.metrics import evaluate
    from kilter.encoding import encode_labels
    from kilter.stores.models import load_model, read_part
    from kilter.stores.objects import commit_dataset

    spec = context.spec
    test = read_part(context.objects, inputs.snapshot, "test")
    model = load_model(context.objects, inputs.model)
    evaluation = evaluate(
        spec.task,
        spec.evaluation.metrics,
        encode_labels(test[spec.label.column], spec.label.classes),
        model.score(test),
        {column: test[column].to_numpy() for column in spec.evaluation.slices},
        model.predictor.importance(),
    )
    files = {
        "evaluation.json": evaluation.model_dump_json(indent=1).encode(),
        **{
            f"{name}.png": picture for name, picture in plots.of_task(evaluation, spec.task, spec.label.classes).items()
        },
    }
    key = commit_dataset(context.objects, f"evaluations/{spec.name}", files).key
    for name, value in evaluation.metrics.items():
        context.log.info("%s on %d test rows: %.4f", name, evaluation.rows, value)
    return Outputs(evaluation=key, metrics=evaluation.metrics)
