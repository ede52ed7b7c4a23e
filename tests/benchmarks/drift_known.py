"""What a drift report says of `factory_line` around the change of its recipe, whose time is known."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from factory_line import FOLDER, fit, plant
from gate_alone import console
from rich.table import Table

from kilter.core.drift.window import Window
from kilter.core.metrics import measure
from kilter.scores import to_column
from kilter.spec import ModelSpec, load_spec
from kilter.window_evidence import Reference, judge_window, outcomes

TRAINED, TESTED = 12, 13 + 1 / 3
"""Days up to which the model learns, and is tested."""
SHIFTS = range(40, 52)
LABELLED = 300
"""Parts of a shift whose quality is known when it ends."""


def known() -> list[dict[str, Any]]:
    """One entry for each shift: its recipe, the true accuracy on all of its parts, and each judgement."""
    spec = load_spec(FOLDER)
    parts = plant(spec)
    train, test = parts[parts.day < TRAINED], parts[(parts.day >= TRAINED) & (parts.day < TESTED)]
    model = fit(train, spec)
    test = test.assign(score=to_column(model.score(test)))
    baseline = measure(["accuracy"], *outcomes(test, spec))["accuracy"]
    served: list[pd.DataFrame] = []
    found = []
    for shift in SHIFTS:
        made = parts[(parts.day >= shift / 3) & (parts.day < (shift + 1) / 3)]
        made = made.assign(score=to_column(model.score(made)))
        live = made.assign(quality=made.quality.where(np.arange(len(made)) < LABELLED))
        reference = Reference(train, test, baseline, pd.concat(served) if served else None)
        judged = judge_window(_window(live, shift, spec), reference, [], spec, seed=0).judgements
        found.append(
            {
                "shift": shift,
                "recipe": "/".join(made.recipe.unique()),
                "accuracy": measure(["accuracy"], *outcomes(made, spec))["accuracy"],
                "judgements": {item.name: {"verdict": item.verdict, "reason": item.reason} for item in judged},
            }
        )
        served.append(live)
    return found


def _window(live: pd.DataFrame, shift: int, spec: ModelSpec) -> Window:
    start = spec.schedule.start + shift * timedelta(hours=8)
    return Window(
        start=start,
        end=start + timedelta(hours=8),
        frame=live,
        rows=len(live),
        labelled=int(live.quality.notna().sum()),
        null_shares={name: float(live[name].isna().mean()) for name in spec.features.names},
        newest=live[spec.timestamp].max().to_pydatetime(),
    )


def show_known(found: list[dict[str, Any]]) -> None:
    names = list(found[0]["judgements"])
    table = Table(title="Shifts of factory_line; recipe B begins on 2024-03-19 at 06:00", title_justify="left")
    for name in ("shift", "recipe", "true accuracy", *names):
        table.add_column(name)
    for row in found:
        verdicts = [str(row["judgements"][name]["verdict"]) for name in names]
        table.add_row(str(row["shift"]), row["recipe"], f"{row['accuracy']:.3f}", *verdicts)
    console.print(table)
    for name in ("estimated_performance", "change_detectors"):
        console.print(f"{name} of the last: {found[-1]['judgements'][name]['reason']}")
