"""The champion of a model: what the registry says, checked against the ledger."""

from __future__ import annotations

from kilter.errors import InputError
from kilter.stores.ledger import Ledger
from kilter.stores.registry import Registry


def champion_of(model: str, registry: Registry, ledger: Ledger) -> int | None:
    """The version that a candidate must be compared with; None when none was ever promoted.

    Raises:
        InputError: a version was promoted and the registry names no champion: the alias was lost. Taken for a
            model's first version, the next candidate would go live without a comparison and without a canary.
    """
    champion = registry.champion(model)
    if champion is None and (promoted := ledger.last_promoted(model)) is not None:
        raise lost_alias(model, promoted, "was promoted last")
    return champion


def lost_alias(model: str, version: int, why: str) -> InputError:
    """The error of a champion without its alias."""
    return InputError(
        f"model '{model}': no version has the alias 'champion' in MLflow, but version {version} {why}: "
        f"set the alias 'champion' on version {version} again, then clear this task"
    )
