"""A backtest to look at: a table, a plot, and JSON that holds everything."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kilter.backtest.history import History
from kilter.backtest.outcome import Outcome

if TYPE_CHECKING:
    from rich.table import Table

    from kilter.stores.registry import ReportRun

TABLE_FILE = "backtest.json"
PLOT_FILE = "backtest.png"
_MARKS = {"promoted": "^", "returned": "o", "held": "v", "rejected": "x"}


def facts(history: History, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Everything that was found, as JSON-ready values; what is not a number is null."""
    return {
        "model": history.spec.name,
        "metric": history.spec.evaluation.primary,
        "history": history.digest,
        "rows": int(history.edges[-1]),
        "windows": list(history.names),
        "initial_windows": history.initial,
        "policies": [_plain(outcome.__dict__) for outcome in outcomes],
    }


def table(history: History, outcomes: Sequence[Outcome]) -> Table:
    """One row a policy, the best quality first."""
    from rich.table import Table

    metric = history.spec.evaluation.primary
    shown = Table(
        title=f"{history.spec.name}: {history.edges[-1]:,} rows in {len(history.spans)} windows", title_justify="left"
    )
    names = (
        "policy",
        metric,
        "trainings",
        "rows fitted",
        "promoted",
        "brought back",
        "false alarms",
        "blind rows",
        "seconds",
    )
    for name in names:
        shown.add_column(name, justify="left" if name == "policy" else "right", no_wrap=name == "policy")
    for item in ranked(history, outcomes):
        blind = f"{item.blind_rows:,} ({item.blind_rows / item.rows:.0%})"
        figures = (
            item.trainings,
            f"{item.rows_fitted:,}",
            item.promotions,
            item.returns,
            item.false_alarms,
            blind,
            f"{item.seconds:.1f}",
        )
        shown.add_row(item.policy, f"{item.quality:.4f}", *map(str, figures))
    return shown


def lines(history: History, outcomes: Sequence[Outcome]) -> list[str]:
    """The table as lines of a log."""
    from rich.console import Console

    console = Console(width=160, color_system=None)
    with console.capture() as captured:
        console.print(table(history, outcomes))
    return captured.get().splitlines()


def to_mlflow(history: History, outcomes: Sequence[Outcome], key: str) -> ReportRun:
    """A run of the model's experiment, with each policy's figures."""
    from kilter.stores.registry import ReportRun

    figures = ("quality", "trainings", "returns", "false_alarms", "blind_rows", "rows_fitted")
    metrics = {
        f"{_slug(item.policy)}.{figure}": float(getattr(item, figure))
        for item in outcomes
        for figure in figures
        if math.isfinite(getattr(item, figure))
    }
    return ReportRun(
        model=history.spec.name,
        name=f"backtest {history.names[0]} to {history.names[-1]}"[:200],
        report=key,
        tags={"kind": "backtest", "history": history.digest, "metric": history.spec.evaluation.primary},
        metrics=metrics,
    )


def _slug(name: str) -> str:
    return "_".join(name.replace(",", "").split())


def ranked(history: History, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The best quality first."""
    from kilter.spec import LOWER_IS_BETTER

    lower = history.spec.evaluation.primary in LOWER_IS_BETTER
    return sorted(outcomes, key=lambda item: item.quality if lower else -item.quality)


def save(history: History, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write `backtest.json` and `backtest.png` into a folder, made when missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TABLE_FILE).write_text(json.dumps(facts(history, outcomes), indent=1, allow_nan=False))
    _plot(history, outcomes, folder / PLOT_FILE)


def _plot(history: History, outcomes: Sequence[Outcome], file: Path) -> None:
    """Quality over time above, what each policy did and when below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(
        2,
        1,
        figsize=(12, 5 + 0.3 * len(outcomes)),
        sharex=True,
        height_ratios=[3, 0.35 * len(outcomes)],
        layout="constrained",
    )
    for line, item in enumerate(outcomes):
        places = [step["window"] for step in item.steps]
        judged = "windows" in item.policy or "history" in item.policy or item.policy == "never"
        above.plot(
            places,
            item.windows,
            label=f"{item.policy}  {item.quality:.4f}",
            lw=1 if judged else 2.2,
            alpha=0.7 if judged else 1,
        )
        for outcome, mark in _MARKS.items():
            acts = [step["window"] for step in item.steps if step["outcome"] == outcome]
            below.scatter(acts, [line] * len(acts), marker=mark, s=28, color=f"C{line % 10}")
    above.set_ylabel(history.spec.evaluation.primary)
    above.legend(fontsize="small", ncols=2)
    above.grid(alpha=0.3)
    below.set_yticks(range(len(outcomes)), [item.policy for item in outcomes], fontsize="small")
    below.invert_yaxis()
    step = max(1, math.ceil(len(history.names) / 14))
    below.set_xticks(
        range(0, len(history.names), step), history.names[::step], rotation=30, ha="right", fontsize="small"
    )
    below.set_xlabel("▲ trained and promoted   ● brought back   ▼ held by the gate   × rejected")
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
