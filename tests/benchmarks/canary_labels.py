"""After the promotion: labels come late, the predecessor has scored the same requests, and wrong answers are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from canary_traffic import Service
from gate_alarms import wilson
from gate_alone import console
from rich.table import Table

from kilter.core.sequential import rates
from kilter.core.sequential.rates import Counts

MINUTE = 60
BOTH_WRONG, ONE_WRONG = 0.12, 0.08
"""Shares of requests that both versions answer wrongly, and that one alone does, where there is no difference."""

DELAY_SECONDS = 3600
"""Until a request's label comes."""

ALPHA = 0.01
HOURS = 6
"""Of labels."""


def labelled(
    seed: int, service: Service, worse: float, allowed: float, rollouts: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which rollouts are reversed, looked at once a minute, and after how many minutes of labels.

    Args:
        worse: how much greater the new version's share of wrong answers is.
        allowed: how much greater it may be.
    """
    random = np.random.default_rng(seed)
    chances = [BOTH_WRONG, ONE_WRONG + worse, ONE_WRONG]
    seen, money = np.zeros((2, rollouts)), np.zeros(rollouts)
    reversed_, minutes = np.zeros(rollouts, dtype=np.bool_), np.full(rollouts, HOURS * 60)
    requests = int(service.rate * MINUTE)
    for minute in range(1, HOURS * 60 + 1):
        both, new_alone, old_alone, _ = random.multinomial(requests, [*chances, 1 - sum(chances)], rollouts).T
        so_far = np.full(rollouts, (minute - 1) * requests)
        each = np.full(rollouts, requests)
        before, block = Counts(seen[0], so_far, seen[1], so_far), Counts(both + new_alone, each, both + old_alone, each)
        money += rates.bets(before, block, allowed)[0]
        seen += block.canary_hits, block.champion_hits
        now = ~reversed_ & (money >= -np.log(ALPHA))
        reversed_ |= now
        minutes[now] = minute
        if reversed_.all():
            break
    return reversed_, minutes


def quality(rollouts: int, harmless: int) -> list[dict[str, Any]]:
    """Reversals without a difference, and for two and five points more of wrong answers."""
    found = []
    for rate in (20, 200):
        for allowed in (0.0, 0.01):
            for worse in (0.0, 0.01, 0.02, 0.05):
                repeats = harmless if worse <= allowed else rollouts
                reversed_, minutes = labelled(int(worse * 100) + rate, Service(rate, 0.001), worse, allowed, repeats)
                found.append(
                    {
                        "rate": rate,
                        "allowed": allowed,
                        "worse": worse,
                        "rollouts": repeats,
                        "reversed": int(reversed_.sum()),
                        "interval": wilson(int(reversed_.sum()), repeats),
                        "labels": _middle(minutes[reversed_] * rate * MINUTE),
                        "hours": _middle((minutes[reversed_] * MINUTE + DELAY_SECONDS) / 3600),
                        "exposed": _middle((minutes[reversed_] * MINUTE + DELAY_SECONDS) * rate),
                    }
                )
    return found


def _middle(values: npt.NDArray[Any]) -> float | None:
    return float(np.median(values)) if len(values) else None


def show_quality(found: list[dict[str, Any]]) -> None:
    table = Table(title="Reversed after the promotion, labels an hour late; medians", title_justify="left")
    for column in ("requests/s", "allowed", "more wrong", "reversed", "95 % interval", "labels", "hours", "of users"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in found:
        low, high = row["interval"]
        shares = [f"{row['allowed']:.0%}", f"{row['worse']:.0%}", f"{row['reversed'] / row['rollouts']:.1%}"]
        forms = {"labels": ",.0f", "hours": ".2f", "exposed": ",.0f"}
        middles = ["" if row[key] is None else f"{row[key]:{form}}" for key, form in forms.items()]
        table.add_row(f"{row['rate']:g}", *shares, f"{low:.1%} … {high:.1%}", *middles)
    console.print(table)
