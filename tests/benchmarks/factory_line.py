"""How often models of some days of `factory_line` are right on its other days, beside the best that is possible."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from kilter.core.metrics import loss_metric
from kilter.encoding import Signature
from kilter.model_code import load_function
from kilter.spec import ModelSpec, load_spec
from kilter.stores.models import Model, to_part
from kilter.trainers import TrainingRun, trainer

FOLDER = Path(__file__).parents[2] / "include/models/factory_line"
DAYS = (0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60)
Rows = Callable[[pd.DataFrame], "pd.Series[bool]"]


def days(first: float, last: float, recipes: str = "ABC") -> Rows:
    """The rows of these days, `last` not included, and of these recipes."""
    return lambda parts: (parts.day >= first) & (parts.day < last) & parts.recipe.isin(list(recipes))


STRETCHES = [days(*stretch) for stretch in pairwise(DAYS)]
SCOPES = {
    "A, days 0–5": days(0, 5),
    "A, days 0–15": days(0, 15),
    "B, days 15–25": days(15, 25),
    "C, days 35–45": days(35, 45),
    "everything, days 0–25": days(0, 25),
    "everything, days 0–27": days(0, 27),
    "the last 5 days, 22–27": days(22, 27),
    "the last 2 days, 25–27": days(25, 27),
    "A's own, days 0–15, 25–27": days(0, 27, "A"),
    "everything, days 0–47": days(0, 47),
    "A's own, days 0–15, 25–35, 45–47": days(0, 47, "A"),
}
"""What a model is trained on."""


def plant(spec: ModelSpec) -> pd.DataFrame:
    """All inspected parts with their features, day, recipe, and the probability of their likeliest quality."""
    import ibis

    start, end = spec.schedule.start, spec.schedule.end
    made = load_function(FOLDER, "source.py", "plant")(start, end)
    parts = load_function(FOLDER, "source.py", "extract")(start, end)["parts"]
    features = load_function(FOLDER, "features.py", "build")({"parts": ibis.memtable(parts)}, spec.label.delay)
    hidden = made[["part_id", "recipe", "quality"]].assign(
        best=made[list(spec.label.classes)].max(axis=1), day=(made.moulded_at - start) / timedelta(days=1)
    )
    return features.to_pandas().merge(hidden[made.quality.notna()], on="part_id").sort_values("part_id")


def fit(rows: pd.DataFrame, spec: ModelSpec) -> Model:
    """A model of these rows, the newest of them for validation, by the spec."""
    signature, make = Signature.of(spec), trainer(spec.training.trainer)
    cut = round(len(rows) * (1 - spec.training.validation_share))
    train, validation = (to_part(part, signature, spec.label.column) for part in (rows[:cut], rows[cut:]))
    loss = loss_metric(spec.task, spec.evaluation.primary)
    trained = make.train(train, validation, TrainingRun(signature, spec.training, loss))
    return Model(signature, make.load(trained.files))


def accuracies(rows: Rows, parts: pd.DataFrame, spec: ModelSpec) -> list[str]:
    """Share of right answers in each stretch of days, by a model of `rows` about the rows that it has not seen."""
    learned = rows(parts)
    scores = fit(parts[learned], spec).score(parts)
    right = np.array(spec.label.classes)[scores.argmax(axis=1)] == parts.quality
    return [percent(right[stretch(parts) & ~learned]) for stretch in STRETCHES]


def percent(shares: pd.Series[float]) -> str:
    return f"{100 * shares.mean():.1f}" if len(shares) else "—"


def main() -> None:
    spec = load_spec(FOLDER)
    parts = plant(spec)
    table = {
        "recipe": ["/".join(parts.recipe[stretch(parts)].unique()) for stretch in STRETCHES],
        "best possible": [percent(parts.best[stretch(parts)]) for stretch in STRETCHES],
        'always "good"': [percent(parts.quality[stretch(parts)] == "good") for stretch in STRETCHES],
        **{name: accuracies(rows, parts, spec) for name, rows in SCOPES.items()},
    }
    print("| right, % |", " | ".join(f"{first}–{last}" for first, last in pairwise(DAYS)), "|")
    print("| --- " * len(DAYS) + "|")
    for name, cells in table.items():
        print(f"| {name} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
