"""Replay the model's policy, and the yardsticks beside it, on its recorded history."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from kilter.spec import UtcTime
from kilter.step import StepContext, StepInfo, StepModel

STEP = StepInfo(
    stores=frozenset({"objects", "ledger", "features", "registry"}),
    reads=("entity", "timestamp", "label", "features", "training", "evaluation", "gate", "arbiter"),
    memoised=False,
)

Bound = Annotated[UtcTime | None, BeforeValidator(lambda value: value or None)]


class Inputs(StepModel):
    """The stretch of event time; null or empty for all that was ingested."""

    first: Bound = None
    last: Bound = None
    every: int = 5
    """The k of the yardstick *every k windows*."""


class Outputs(StepModel):
    """Where table, plot and JSON are, and each policy's quality and trainings."""

    backtest: str
    run_id: str
    quality: dict[str, float]
    trainings: dict[str, int]


def run(inputs: Inputs, context: StepContext) -> Outputs:
    """Live through the history under each policy; a run that was killed trains again, as its container is gone.

    Raises:
        InputError: nothing was ingested.
        DataError: too few intervals.
    """
    import tempfile
    from pathlib import Path

    from kilter.backtest import report
    from kilter.backtest.policies import Arbitrated, Policy, yardsticks
    from kilter.backtest.recorded import recorded
    from kilter.backtest.run import backtest
    from kilter.stores.objects import commit_dataset

    history = recorded(context, inputs.first, inputs.last)
    policies: list[Policy] = [Arbitrated("kilter", context.spec), *yardsticks(inputs.every)]
    with tempfile.TemporaryDirectory() as folder:
        outcomes = backtest(history, policies, Path(folder) / "fits", _told(context))
        pages = Path(folder) / "report"
        report.save(history, outcomes, pages)
        files = {page.name: page.read_bytes() for page in pages.iterdir()}
        manifest = commit_dataset(context.objects, f"backtests/{context.spec.name}", files, {"history": history.digest})
        run_id = context.registry.log_report(report.to_mlflow(history, outcomes, manifest.key), pages)
    for line in report.lines(history, outcomes):
        context.log.info("%s", line)
    return Outputs(
        backtest=manifest.key,
        run_id=run_id,
        quality={item.policy: item.quality for item in outcomes},
        trainings={item.policy: item.trainings for item in outcomes},
    )


def _told(context: StepContext) -> Any:
    def told(policy: str, done: int, total: int) -> None:
        if done % 10 == 0 or done == total:
            context.log.info("%s: %d of %d windows", policy, done, total)

    return told
