"""Train a candidate on a frozen snapshot. Same snapshot, parameters, seed and image: equal bytes."""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pydantic import Field

from kilter.devices import DeviceUse, measured
from kilter.environment import environment_digest
from kilter.step import StepContext, StepInfo, StepModel, code_digest

if TYPE_CHECKING:
    from kilter.live_curves import LiveCurves
    from kilter.stores.checkpoints import ObjectCheckpoints
    from kilter.stores.registry import Registry

STEP = StepInfo(
    stores=frozenset({"objects", "registry"}),
    reads=("training", "evaluation", "features", "label", "entity", "timestamp", "resources"),
    gpu=True,
    together=True,
)


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
    run_id: str = ""
    """MLflow's run that shows the loss curve, for `register` to go on with; empty of a training too short for one."""


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Fit on the train part, stop early on the validation part, commit the model by digest.

    What is made small follows from the primary metric: see `kilter.core.metrics.loss_metric`. A training that was killed
    goes on from its checkpoint, if its trainer makes any; several processes may train together.
    """
    from kilter.core.metrics import loss_metric
    from kilter.encoding import Signature
    from kilter.stores.models import save_model
    from kilter.stores.training_rows import open_rows
    from kilter.trainers import TrainingRun, trainer

    spec, objects = context.spec, context.objects
    signature, loss = Signature.of(spec), loss_metric(spec.task, spec.evaluation.primary)
    training = spec.training.with_parameters(inputs.parameters)
    checkpoints = _checkpoints(inputs, context)
    curves = _curves(checkpoints, context)
    told = TrainingRun(signature, training, loss, context.device, context.log, curves.add, checkpoints, context.workers)
    parts = (
        open_rows(objects, inputs.snapshot, part, signature, spec.label.column) for part in ("train", "validation")
    )
    watched = nullcontext() if context.workers.rank else curves
    with next(parts) as train, next(parts) as validation, watched:
        context.log.info("training on %d rows, stopping early on %d", len(train), len(validation))
        trained, use = measured(context.device, lambda: trainer(training.trainer).train(train, validation, told))
    facts = {"trainer": training.trainer, "parameters": training.parameters, "loss": loss, "device": context.device}
    saved = save_model(objects, spec.name, trained, signature, facts)
    checkpoints.delete()
    context.log.info(
        "model %s after %d rounds and %.1f s on %s",
        saved.digest[:12],
        trained.rounds,
        use.seconds,
        ", ".join(use.names),
    )
    return Outputs(model=saved.key, digest=saved.digest, rounds=trained.rounds, device=use, run_id=curves.run_id)


def _checkpoints(inputs: Inputs, context: StepContext) -> ObjectCheckpoints:
    """Where the checkpoint of this very training is: equal inputs, spec, code, packages, device and processes.

    What `resources` gives is left out: with more memory a training that lacked it goes on.
    """
    from kilter.stores.checkpoints import ObjectCheckpoints

    sections = (section for section in STEP.reads if section != "resources")
    content = {
        "inputs": inputs.model_dump(mode="json"),
        "spec": context.spec.digest("name", "task", *sections),
        "code": code_digest(context.folder),
        "environment": environment_digest(),
        "device": context.device,
        "workers": context.workers.count,
    }
    identity = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return ObjectCheckpoints(context.objects, context.spec.name, identity, context.log)


def _curves(checkpoints: ObjectCheckpoints, context: StepContext) -> LiveCurves:
    from kilter.live_curves import LiveCurves

    run = context.run

    def begin(registry: Registry) -> str:
        tags = {"dag_id": run.dag_id, "run_id": run.run_id}
        checkpoints.run_id = checkpoints.run_id or registry.begin_run(context.spec.name, run.run_id, tags)
        return checkpoints.run_id

    return LiveCurves(lambda: context.registry, begin, context.log)
