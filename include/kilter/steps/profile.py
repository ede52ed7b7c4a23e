"""Describe a snapshot's columns in a report that people can look at."""

from __future__ import annotations

from kilter.step import StepContext, StepInfo, StepModel

STEP = StepInfo(reads=("features", "training"))
_SAMPLE = 20_000


class Inputs(StepModel):
    """A frozen training set."""

    snapshot: str


class Outputs(StepModel):
    """The profile's key; its file is `profile.html`."""

    profile: str


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Profile the train part (a seeded sample of 20,000 rows when it is larger) with Evidently."""
    from evidently import Report
    from evidently.presets import DataSummaryPreset

    from kilter.drift_report import features_dataset, html
    from kilter.stores.models import read_part
    from kilter.stores.objects import commit_dataset

    spec = context.spec
    train = read_part(context.objects, inputs.snapshot, "train")
    sample = train.sample(min(len(train), _SAMPLE), random_state=context.seed)
    context.log.info("profiling %d of %d rows", len(sample), len(train))
    snapshot = Report([DataSummaryPreset()]).run(features_dataset(sample, spec), None)
    manifest = commit_dataset(context.objects, f"profiles/{spec.name}", {"profile.html": html(snapshot)})
    return Outputs(profile=manifest.key)
