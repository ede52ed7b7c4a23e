"""Register a candidate: one MLflow run with everything, and a model version with its lineage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kilter.devices import DeviceUse
from kilter.environment import environment_digest
from kilter.live_curves import CURVE
from kilter.step import StepContext, StepInfo, StepModel, code_digest

if TYPE_CHECKING:
    from pathlib import Path

    from kilter.stores.objects import Manifest
    from kilter.stores.registry import PipelineRun

STEP = StepInfo(stores=frozenset({"objects", "ledger", "registry"}), reads=("training", "evaluation"), memoised=False)


class Inputs(StepModel):
    """What the pipeline made, and why it ran."""

    snapshot: str
    profile: str
    model: str
    evaluation: str
    device: DeviceUse
    """As `train` puts it out."""
    reason: str = ""
    run_id: str = ""
    """MLflow's run that showed the training while it went on, to be completed; empty for a new one."""
    retraining: str = ""
    """What began this retraining, as given to `freeze_dataset`."""
    parameters_of: str = ""
    """Where the parameters come from, as `tune` says."""


class Outputs(StepModel):
    """The version; `created` is False when the same model on the same snapshot was there already."""

    version: int
    run_id: str
    created: bool


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Register the model with alias `candidate`, unless the very same one is registered."""
    import tempfile
    from pathlib import Path

    from kilter.stores.objects import read_manifest

    name = context.spec.name
    model = read_manifest(context.objects, inputs.model)
    found = context.registry.find(name, model.digest, inputs.snapshot)
    if found is None:
        with tempfile.TemporaryDirectory() as folder:
            _write_artifacts(Path(folder), inputs, context)
            version = context.registry.register(_pipeline_run(inputs, model, context), Path(folder))
        context.log.info("registered %s version %d, model %s", name, version.version, model.digest[:12])
    else:
        version = found
        context.log.info("%s version %d is this very model: not registered twice", name, version.version)
    context.registry.set_alias(name, "candidate", version.version)
    if inputs.retraining:
        _tell_ledger(inputs.retraining, version.version, context)
    return Outputs(version=version.version, run_id=version.run_id, created=found is None)


def _tell_ledger(retraining: str, version: int, context: StepContext) -> None:
    """The retraining goes on until its version is judged; one that was judged before is not judged again."""
    name, ledger = context.spec.name, context.ledger
    ledger.retrained(name, retraining, version)
    if any(row["version"] == version for row in ledger.verdicts(name)):
        ledger.end_retraining(name, f"version {version} came out again, which was judged before", version=version)


def _pipeline_run(inputs: Inputs, model: Manifest, context: StepContext) -> PipelineRun:
    from kilter.core.metrics import Evaluation
    from kilter.stores.models import loss_of, losses_of
    from kilter.stores.objects import read_file, read_manifest
    from kilter.stores.registry import PipelineRun

    spec = context.spec
    snapshot = read_manifest(context.objects, inputs.snapshot)
    evaluated = read_manifest(context.objects, inputs.evaluation)
    evaluation = Evaluation.model_validate_json(read_file(context.objects, evaluated, "evaluation.json"))
    training = spec.training
    return PipelineRun(
        model=spec.name,
        name=context.run.run_id,
        parameters={
            "trainer": model.facts["trainer"],
            "loss": loss_of(model),
            "seed": training.seed,
            "rounds": training.rounds,
            "early_stopping": training.early_stopping,
            **model.facts["parameters"],
        },
        metrics={**evaluation.metrics, **_slice_metrics(evaluation, spec.evaluation.primary)},
        tags=_lineage(inputs, snapshot, model, context),
        dataset=context.objects.uri(inputs.snapshot),
        dataset_digest=snapshot.digest,
        dataset_rows=sum(snapshot.facts["rows"].values()),
        key=inputs.model,
        digest=model.digest,
        snapshot=inputs.snapshot,
        evaluation=inputs.evaluation,
        curves={CURVE: losses_of(model)},
        run_id=inputs.run_id,
    )


def _slice_metrics(evaluation: Any, metric: str) -> dict[str, float]:
    return {
        f"{metric}/{column}/{value}": figures[metric]
        for column, values in evaluation.slices.items()
        for value, figures in values.items()
        if metric in figures
    }


def _lineage(inputs: Inputs, snapshot: Manifest, model: Manifest, context: StepContext) -> dict[str, str]:
    run = context.run
    champion = context.registry.champion(context.spec.name)
    return {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "dag_version": run.dag_version,
        "git_commit": run.git_commit,
        "code_digest": code_digest(context.folder),
        "image_digest": run.image,
        "environment_digest": environment_digest(),
        "spec_digest": context.spec.digest(),
        "snapshot_digest": inputs.snapshot.rpartition("/")[2],
        **inputs.device.tags(),
        "predecessor": "" if champion is None else str(champion),
        "scope": json.dumps(snapshot.facts.get("scope", {})),
        "retraining": inputs.retraining,
        "parameters_of": inputs.parameters_of,
        "reason": inputs.reason,
    }


def _write_artifacts(folder: Path, inputs: Inputs, context: StepContext) -> None:
    """Lay out what MLflow shows: the model, its evaluation with plots, and the data profile."""
    from kilter.stores.objects import read_file, read_manifest

    for name, key in (("model", inputs.model), ("evaluation", inputs.evaluation), ("profile", inputs.profile)):
        manifest = read_manifest(context.objects, key)
        (folder / name).mkdir()
        for file in manifest.files:
            (folder / name / file).write_bytes(read_file(context.objects, manifest, file))
