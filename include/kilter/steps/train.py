"""Train a candidate on a frozen snapshot. Same snapshot, parameters, seed and image: equal bytes."""

from __future__ import annotations

from pydantic import Field

from kilter.devices import DeviceUse, measured
from kilter.step import StepContext, StepInfo, StepModel

STEP = StepInfo(reads=("training", "evaluation", "features", "label", "entity", "timestamp", "resources"), gpu=True)


class Inputs(StepModel):
    """`parameters` override those of model.yaml."""

    snapshot: str
    parameters: dict[str, float | int | str | bool] = Field(default_factory=dict)


class Outputs(StepModel):
    """The model's key and digest, the boosting rounds or epochs it took, and what it took of the device."""

    model: str
    digest: str
    rounds: int
    device: DeviceUse


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Fit on the train part, stop early on the validation part, commit the model by digest.

    What is made small follows from the primary metric: see `kilter.core.metrics.loss_metric`.
    """
    from kilter.core.metrics import loss_metric
    from kilter.encoding import Signature
    from kilter.stores.models import read_part, save_model, to_part
    from kilter.trainers import TrainingRun, trainer

    spec = context.spec
    signature = Signature.of(spec)
    training = spec.training.with_parameters(inputs.parameters)
    train = to_part(read_part(context.objects, inputs.snapshot, "train"), signature, spec.label.column)
    validation = to_part(read_part(context.objects, inputs.snapshot, "validation"), signature, spec.label.column)
    context.log.info("training on %d rows, stopping early on %d", len(train), len(validation))
    loss = loss_metric(spec.task, spec.evaluation.primary)
    told = TrainingRun(signature, training, loss, context.device, context.log)
    trained, use = measured(context.device, lambda: trainer(training.trainer).train(train, validation, told))
    facts = {"trainer": training.trainer, "parameters": training.parameters, "loss": loss, "device": context.device}
    saved = save_model(context.objects, spec.name, trained, signature, facts)
    context.log.info(
        "model %s after %d rounds and %.1f s on %s",
        saved.digest[:12],
        trained.rounds,
        use.seconds,
        ", ".join(use.names),
    )
    return Outputs(model=saved.key, digest=saved.digest, rounds=trained.rounds, device=use)
