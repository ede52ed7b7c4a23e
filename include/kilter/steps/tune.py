"""Say with which parameters to train: those of model.yaml, of the model's last search, or of a search made now."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kilter.step import StepContext, StepInfo, StepModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy.engine import RowMapping

    from kilter.core.search_space import Value
    from kilter.stores.models import PartName
    from kilter.trainers import Rows, Trained

# Not memoised: what it says follows from the searches so far. A search that is done is not made again.
STEP = StepInfo(
    stores=frozenset({"objects", "ledger", "registry"}),
    reads=("training", "tuning", "evaluation", "features", "label", "entity", "timestamp", "resources"),
    memoised=False,
    gpu=True,
)


class Inputs(StepModel):
    snapshot: str
    search: bool = False
    """Whether to search now, whatever the schedule says."""


class Outputs(StepModel):
    """Parameters that override those of model.yaml; none where those count. `origin` says where they come from."""

    parameters: dict[str, float | int | str | bool]
    origin: str


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Search for parameters where that is due, else give those of the model's last search up to the snapshot's event time.

    Trials learn from the snapshot's train part and are compared by the loss of its validation part; the test part is not
    looked at. What was found counts until model.yaml says something new.

    Raises:
        InputError: a search was due, and none of its trials came to an end.
        UnavailableError: the ledger or MLflow does not answer.
    """
    from kilter.core.search import due
    from kilter.stores.objects import read_manifest

    spec = context.spec
    now = datetime.fromisoformat(read_manifest(context.objects, inputs.snapshot).facts["as_of"])
    last = context.ledger.last_search(spec.name, now)
    told = due(inputs.search, spec.tuning.every, None if last is None else last["as_of"], now)
    outputs = _searched(inputs.snapshot, now, last, context) if told.search else _known(last, context)
    context.log.info("%s: training with the parameters of %s", told.reason, outputs.origin)
    return outputs


def _known(last: RowMapping | None, context: StepContext) -> Outputs:
    """The parameters of the last search, where they are good for the model as it is today."""
    from kilter.core.search_space import inside
    from kilter.search import basis

    spec = context.spec
    if last is None:
        return Outputs(parameters={}, origin="model.yaml")
    found = last["parameters"]
    if last["basis"] != basis(spec) or inside(spec.search_space(), found) != found:
        return Outputs(parameters={}, origin=f"model.yaml, which is newer than study {last['study']}")
    return Outputs(parameters=found, origin=f"trial {last['trial']} of study {last['study']}")


def _searched(snapshot: str, now: datetime, last: RowMapping | None, context: StepContext) -> Outputs:
    from kilter.search import Plan, basis, search

    spec, run = context.spec, context.run
    plan = Plan.of(spec, snapshot, last)
    tags = {"study": plan.study, "snapshot": snapshot, "dag_id": run.dag_id, "run_id": run.run_id}
    with fit_on(snapshot, context) as fit:
        found = search(plan, fit, tags, context)
    row: dict[str, Any] = {
        "study": plan.study,
        "trial": found.trial,
        "loss": found.loss,
        "parameters": found.parameters,
    }
    context.ledger.record_search(model=spec.name, basis=basis(spec), trainer=spec.training.trainer, as_of=now, **row)
    return Outputs(parameters=found.parameters, origin=f"trial {found.trial} of study {plan.study}")


@contextmanager
def fit_on(snapshot: str, context: StepContext) -> Iterator[Callable[..., Trained]]:
    """A training on the snapshot with whatever parameters, as `kilter.search.Fit` describes."""
    from kilter.core.metrics import loss_metric
    from kilter.encoding import Signature
    from kilter.stores.training_rows import open_rows
    from kilter.trainers import TrainingRun, trainer
    from kilter.trainers.windows import held

    spec = context.spec
    signature, loss = Signature.of(spec), loss_metric(spec.task, spec.evaluation.primary)
    # The search says a line for each trial; what a training says of its rounds would hide them.
    quiet = context.log.getChild("trial")
    quiet.setLevel(logging.WARNING)

    def opened(part: PartName) -> AbstractContextManager[Rows]:
        return open_rows(context.objects, snapshot, part, signature, spec.label.column)

    with opened("train") as first, opened("validation") as second:
        train, validation = (held(part, len(signature.names)) for part in (first, second))

        def fit(parameters: dict[str, Value], on_round: Callable[[int, float], None]) -> Trained:
            training = spec.training.with_parameters(parameters)
            told = TrainingRun(signature, training, loss, context.device, quiet, on_round)
            return trainer(training.trainer).train(train, validation, told)

        yield fit
