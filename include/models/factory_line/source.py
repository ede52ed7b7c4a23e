"""A made-up plant that moulds parts by a recipe, which changes from A to B, A, C and back to A in sixty days.

No column says which recipe runs: it must be noticed. A recipe moves what the sensors read, and turns what they say of
quality, so that a model of one recipe is wrong about another. Meanwhile the screws wear, until all are replaced.
docs/factory-line.md tells when, and what each of it does to a model.

Each shift is drawn from a stream of its own (Philox, keyed by seed and shift), so that any interval can be made alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

SEED = 2024
START = datetime(2024, 3, 4, 6, tzinfo=UTC)
END = START + timedelta(days=60)
SHIFT = timedelta(hours=8)
PARTS = 480
"""Of a shift: one a minute, from the lines in turn."""

RECIPE_DAYS = {0: "A", 15: "B", 25: "A", 35: "C", 45: "A"}
"""Days after START on which a recipe begins."""
SCREW_DAYS = 20
"""Days from one replacement of all screws to the next; they are new at START."""

QUALITIES = ("good", "rework", "scrap")
LINES = ("L1", "L2", "L3")
SUPPLIERS = {"north": 0.5, "south": 0.3, "east": 0.2}
"""Each supplier's share of the granulate."""

COOLING = timedelta(hours=1)
QUEUE = timedelta(hours=3)
"""A part is inspected once it has cooled and its turn has come, which takes up to so much longer."""
NOT_INSPECTED = 0.01

MAY_FAIL = ("mould_temperature", "cushion", "vibration")
OUTAGE = 0.03
"""Chance that such a sensor of one line is dead for a shift."""
READING_LOST = 0.01
"""Chance that a single reading of it is lost besides."""


class Sensor(NamedTuple):
    """What it reads under recipe A with new screws, and the decimals that it shows."""

    mean: float
    spread: float
    decimals: int


SENSORS = {
    "melt_temperature": Sensor(231, 6, 1),
    "mould_temperature": Sensor(55, 4, 1),
    "injection_pressure": Sensor(92, 7, 1),
    "holding_pressure": Sensor(48, 5, 1),
    "cushion": Sensor(6.5, 0.8, 2),
    "cycle_time": Sensor(31, 1.2, 2),
    "vibration": Sensor(2.4, 0.35, 2),
    "humidity": Sensor(45, 7, 1),
}
"""°C, °C, MPa, MPa, mm, s, mm/s, and % of the hall's air."""

WEAR = {"vibration": 1.6, "cycle_time": 0.8}
"""By how many spreads a worn-out screw moves a sensor."""
REWORK_OF_WEAR = 3.0
"""What a worn-out screw adds to the log odds of rework."""


@dataclass(frozen=True)
class Recipe:
    """How it moves the sensors' means, in spreads, and what makes its parts bad.

    `rework` and `scrap` are what one spread above the recipe's own mean adds to the log odds of that over `good`.
    """

    settings: dict[str, float]
    rework: dict[str, float]
    scrap: dict[str, float]
    moist: str
    """The supplier whose granulate adds MOIST to the log odds of scrap."""


RECIPES = {
    "A": Recipe(
        settings={},
        rework={"holding_pressure": -4.0, "mould_temperature": 2.5},
        scrap={"melt_temperature": 4.0, "cushion": -2.5},
        moist="east",
    ),
    "B": Recipe(
        settings={"melt_temperature": 0.6, "mould_temperature": -0.5, "holding_pressure": 0.5, "cycle_time": 0.6},
        rework={"injection_pressure": 4.0, "holding_pressure": -1.5},
        scrap={"melt_temperature": -3.0, "mould_temperature": -3.5},
        moist="south",
    ),
    "C": Recipe(
        settings={"injection_pressure": 0.6, "melt_temperature": -0.5, "cushion": 0.5, "mould_temperature": 0.5},
        rework={"melt_temperature": -4.0, "injection_pressure": -2.5},
        scrap={"cushion": 4.0, "holding_pressure": 2.5},
        moist="north",
    ),
}
REWORK, SCRAP, MOIST = -3.0, -4.0, 1.5


def extract(start: datetime, end: datetime, seed: int = SEED) -> dict[str, pd.DataFrame]:
    """The parts moulded in `[start, end)`; the plant runs from START to END.

    Returns:
        `parts`: part_id, moulded_at (UTC), line, supplier, the SENSORS (null while one failed), inspected_at (UTC,
            hours later, also when that is after `end`) and quality. The last two are null for a part that nobody
            inspected.
    """
    return {"parts": plant(start, end, seed).drop(columns=["recipe", "wear", *QUALITIES])}


def plant(start: datetime, end: datetime, seed: int = SEED) -> pd.DataFrame:
    """The same parts with what nobody in the plant knows.

    Returns:
        The columns of `parts`; recipe; wear, from 0 (new screws) to 1; and the probability of each of QUALITIES.
        The greatest of the three is, on average, how often the best model is right that knows recipe and wear.
    """
    import pandas as pd

    first = max(0, (start - START) // SHIFT)
    last = min((END - START) // SHIFT, -((START - end) // SHIFT))
    shifts = [_shift(number, seed) for number in range(first, last)] or [_shift(0, seed).iloc[:0]]
    parts = pd.concat(shifts, ignore_index=True)
    return parts[parts.moulded_at.between(start, end, inclusive="left")]


def _shift(number: int, seed: int) -> pd.DataFrame:
    import pandas as pd

    random = np.random.Generator(np.random.Philox(key=[seed, number]))
    begin = START + number * SHIFT
    moulded_at = pd.Series(pd.date_range(begin, periods=PARTS, freq=SHIFT / PARTS))
    days = ((moulded_at - START) / timedelta(days=1)).to_numpy()
    recipe = RECIPE_DAYS[max(day for day in RECIPE_DAYS if timedelta(day) <= begin - START)]
    wear = days / SCREW_DAYS % 1
    line = np.resize(LINES, PARTS)
    supplier = random.choice(list(SUPPLIERS), PARTS, p=list(SUPPLIERS.values()))
    distances = _distances(days, wear, line, random)
    chances = _chances(RECIPES[recipe], distances, wear, supplier)
    quality = np.array(QUALITIES)[(random.random((PARTS, 1)) > chances.cumsum(axis=1)[:, :-1]).sum(axis=1)]
    queued = pd.to_timedelta(random.integers(QUEUE // timedelta(seconds=1), size=PARTS), unit="s")
    inspected = random.random(PARTS) >= NOT_INSPECTED
    return pd.DataFrame(
        {
            "part_id": [f"{number:03}-{place:03}" for place in range(PARTS)],
            "moulded_at": moulded_at,
            "line": line,
            "supplier": supplier,
            **_readings(RECIPES[recipe], distances, line, random),
            "inspected_at": (moulded_at + COOLING + queued).where(inspected),
            "quality": pd.Series(quality).where(inspected),
            "recipe": recipe,
            "wear": wear,
            **dict(zip(QUALITIES, chances.T, strict=True)),
        }
    )


def _distances(
    days: np.ndarray, wear: np.ndarray, line: np.ndarray, random: np.random.Generator
) -> dict[str, np.ndarray]:
    """How far each sensor is from the running recipe's mean, in spreads. Weather and lines differ, which is no drift."""
    distances = {name: random.standard_normal(PARTS) for name in SENSORS}
    for name, worn_out in WEAR.items():
        distances[name] += worn_out * wear
    distances["melt_temperature"] += 0.4 * (line == "L2")
    distances["humidity"] += np.sin(2 * np.pi * days) + np.sin(2 * np.pi * days / 7)
    return distances


def _chances(recipe: Recipe, distances: dict[str, np.ndarray], wear: np.ndarray, supplier: np.ndarray) -> np.ndarray:
    """The probability of each of QUALITIES, parts × 3."""
    rework = REWORK + REWORK_OF_WEAR * wear + sum(weight * distances[name] for name, weight in recipe.rework.items())
    scrap = SCRAP + MOIST * (supplier == recipe.moist)
    scrap += sum(weight * distances[name] for name, weight in recipe.scrap.items())
    odds = np.exp(np.column_stack([np.zeros(PARTS), rework, scrap]))
    return odds / odds.sum(axis=1, keepdims=True)


def _readings(
    recipe: Recipe, distances: dict[str, np.ndarray], line: np.ndarray, random: np.random.Generator
) -> dict[str, np.ndarray]:
    readings = {}
    for name, sensor in SENSORS.items():
        reading = sensor.mean + sensor.spread * (recipe.settings.get(name, 0.0) + distances[name])
        readings[name] = reading.round(sensor.decimals)
    for name in MAY_FAIL:
        dead = np.isin(line, np.array(LINES)[random.random(len(LINES)) < OUTAGE])
        readings[name][dead | (random.random(PARTS) < READING_LOST)] = np.nan
    return readings
