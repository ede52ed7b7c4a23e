"""A model's newest rollout as a person on call wants to see it: where it is, who answers, and what was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kilter.errors import InputError, KilterError
from kilter.rollout import meant
from kilter.step import StepContext

if TYPE_CHECKING:
    from rich.console import Console
    from sqlalchemy.engine import RowMapping


def show(context: StepContext) -> None:
    """Print it: state, who holds what, weights meant and set, and every event, the last one with all its figures.

    Raises:
        InputError: the model never had a rollout.
        UnavailableError: the ledger does not answer. HAProxy and the servers may be away: that is told.
    """
    from rich.console import Console

    model = context.spec.name
    rows = context.ledger.rollouts(model)
    if not rows:
        raise InputError(f"model '{model}' never had a rollout: run {model}.canary_promotion with a version")
    row = rows[-1]
    console = Console(highlight=False)
    versions = f"version {row['candidate']}" + (f" after {row['champion']}" if row["champion"] else ", the first")
    console.print(f"[bold]{model}[/bold] rollout {row['id']}: {versions}: [bold]{row['state']}[/bold]")
    console.print(f"traffic: {_traffic(row, context)}")
    _show_events(row, context, console)


def _traffic(row: RowMapping, context: StepContext) -> str:
    wanted = meant(row["model"], context)
    try:
        found = context.router.weights(row["model"])
        counters = context.router.counters(row["model"])
        deployed = {role: context.servers.deployed(role, row["model"]) for role in found}
    except KilterError as error:
        return f"canary {wanted['canary']} % is meant; {error}"
    parts = []
    for role, weight in found.items():
        held = deployed[role]
        takes = "takes requests" if counters[role].up else "takes none"
        parts.append(f"{role} {weight} % (version {held.version if held else 'none'}, {takes})")
    note = "" if found == wanted else f"; [bold]the ledger means canary {wanted['canary']} %[/bold]"
    return ", ".join(parts) + note


def _show_events(row: RowMapping, context: StepContext, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False)
    for column in ("at (UTC)", "state", "weight", "verdict", "why"):
        table.add_column(column, justify="right" if column == "weight" else "left")
    *earlier, last = context.ledger.rollout_events(row["id"])
    for event in (*earlier, last):
        judgement = event["evidence"].get("judgement") or event["evidence"].get("watched") or {}
        first, *others = event["reason"].split("; ")
        why = f"{first}; …" if others and event is not last else event["reason"]
        at = f"{event['recorded_at']:%Y-%m-%d %H:%M:%S}"
        table.add_row(at, event["state"], str(event["weight"]), judgement.get("verdict", ""), Text(why))
    console.print(table)
