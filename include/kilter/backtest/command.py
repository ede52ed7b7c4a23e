"""`kilter backtest`: replay policies on a model's recorded history, or on any Parquet file with a column of time."""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kilter.errors import InputError, UnavailableError
from kilter.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from kilter.backtest.history import History
    from kilter.backtest.outcome import Outcome
    from kilter.backtest.run import Progress
    from kilter.step import StepContext


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "model", nargs="?", help="the model: a folder in include/models; its ingested history is replayed"
    )
    parser.add_argument("--policy", action="append", type=Path, default=[], metavar="FILE",
                        help="YAML with sections 'arbiter' and 'gate' as in model.yaml; may be given several times")  # fmt: skip
    parser.add_argument(
        "--from", dest="first", type=_time, metavar="TIME", help="leave out intervals that begin earlier"
    )
    parser.add_argument("--to", dest="last", type=_time, metavar="TIME", help="leave out intervals that end later")
    parser.add_argument(
        "--every", type=int, default=5, help="the k of the yardstick 'every k windows' (default %(default)s)"
    )
    parser.add_argument("--initial", type=int, help="windows that the first model learns from")
    parser.add_argument("--out", type=Path, help="folder for backtest.json and backtest.png; default below KILTER_HOME")
    stream = parser.add_argument_group("without a model folder")
    stream.add_argument("--data", type=Path, metavar="FILE", help="a Parquet file")
    stream.add_argument("--label", help="its column with the label")
    stream.add_argument("--time", help="its column with the time")
    stream.add_argument("--task", choices=("binary", "multiclass", "regression"), help="default by the label's values")
    stream.add_argument("--metric", help="what policies are compared by; default accuracy, or mae for a regression")
    stream.add_argument("--windows", type=int, help="windows of equally many rows to cut the file into (default 40)")


def run(options: argparse.Namespace, settings: Settings) -> None:
    """Live through the history under each policy, print the table, and keep table, plot and JSON.

    Raises:
        InputError: neither or both of a model and a file, or an option that does not belong.
        KilterError: the history cannot be read.
    """
    from dataclasses import replace

    from rich.console import Console

    from kilter.backtest import report
    from kilter.backtest.policies import Arbitrated, read_policy, yardsticks
    from kilter.backtest.run import backtest

    history = _history(options, settings)
    if options.initial is not None:
        if options.initial < 1:
            raise InputError(f"--initial: got {options.initial}, expected 1 or more")
        history = replace(history, initial=options.initial)
    if options.every < 1:
        raise InputError(f"--every: got {options.every}, expected 1 or more")
    policies = [read_policy(file, history.spec) for file in options.policy] or [Arbitrated("kilter", history.spec)]
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=140)
    with _progress(console) as progress:
        outcomes = backtest(
            history, [*policies, *yardsticks(options.every)], settings.home / "backtests" / "fits", progress
        )
    console.print(report.table(history, outcomes))
    folder = options.out or settings.home / "backtests" / history.spec.name
    report.save(history, outcomes, folder)
    console.print(f"{folder / report.TABLE_FILE}\n{folder / report.PLOT_FILE}", soft_wrap=True)
    try:
        console.print(f"MLflow run {_log(history, outcomes, folder, settings)}", soft_wrap=True)
    except UnavailableError as error:
        console.print(f"no MLflow run: {error}", soft_wrap=True)


def _history(options: argparse.Namespace, settings: Settings) -> History:
    from kilter.backtest.recorded import recorded
    from kilter.backtest.stream import read_stream

    if (options.model is None) == (options.data is None):
        raise InputError("give a model, or --data FILE with --label and --time: one of the two")
    stream = {name: getattr(options, name) for name in ("label", "time", "task", "metric", "windows")}
    if options.data is not None:
        if options.label is None or options.time is None:
            raise InputError("--data needs --label and --time: the names of two of its columns")
        if options.first or options.last:
            raise InputError("--from and --to are for a model's history: cut the file instead")
        return read_stream(options.data, **stream)
    if given := [f"--{name}" for name, value in stream.items() if value is not None]:
        raise InputError(f"{', '.join(given)}: for --data only, a model has its own in model.yaml: remove it")
    return recorded(_context(options.model, settings), options.first, options.last)


def _context(model: str, settings: Settings) -> StepContext:
    from kilter.spec import load_spec
    from kilter.step import StepContext, Stores
    from kilter.steps import backtest as step

    folder = settings.models / model
    spec = load_spec(folder)
    return StepContext(spec, folder, Stores(settings, spec), step.STEP)


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    """A bar a policy, or a line a policy where nobody watches."""
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    bars: dict[str, TaskID] = {}
    with Bars(console=console, transient=False, disable=not console.is_terminal) as shown:

        def told(policy: str, done: int, total: int) -> None:
            if policy not in bars:
                bars[policy] = shown.add_task(policy, total=total)
            shown.update(bars[policy], completed=done)
            if not console.is_terminal and done == total:
                console.print(f"{policy}: {total} windows lived through")

        yield told


def _log(history: History, outcomes: Sequence[Outcome], folder: Path, settings: Settings) -> str:
    """Log to MLflow, if it answers: a stranger's file is replayed without any server."""
    import httpx

    from kilter.backtest import report
    from kilter.stores.registry import MlflowRegistry

    try:
        httpx.get(f"{settings.mlflow}/health", timeout=2).raise_for_status()
    except httpx.HTTPError:
        raise UnavailableError(f"MLflow does not answer at {settings.mlflow} (KILTER_MLFLOW)") from None
    key = f"backtests/{history.spec.name}/{history.digest[:16]}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    return MlflowRegistry(settings.mlflow).log_report(report.to_mlflow(history, outcomes, key), folder)


def _time(text: str) -> datetime:
    """A time with its offset, or a day in UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text}, expected a day or a time, such as 2013-03-01") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
