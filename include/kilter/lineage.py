"""Where a model version comes from and what was decided about it: registry and ledger, as one trace."""

from __future__ import annotations

from sqlalchemy.engine import RowMapping

from kilter.stores.ledger import Ledger
from kilter.stores.registry import ModelVersion, Registry

_ROLES = ("champion", "predecessor", "candidate", "canary")


def trace(model: str, version: int, registry: Registry, ledger: Ledger) -> dict[str, object]:
    """Trace one version: its parts with their digests, who made it and why, its gate verdicts, approvals and rollouts.

    Returns:
        JSON-ready values, in the order in which things happened.

    Raises:
        InputError: there is no such version.
    """
    found = registry.version(model, version)
    return {
        "model": model,
        "version": version,
        "roles": [role for role in _ROLES if registry.alias(model, role) == version],
        "model_digest": found.digest,
        "snapshot": found.snapshot,
        "evaluation": found.evaluation,
        "mlflow_run": found.run_id,
        "metrics": found.metrics,
        "lineage": registry.tags(model, version),
        "gate": [_verdict(row) for row in ledger.verdicts(model) if row["version"] == version],
        "approvals": [_approval(row) for row in ledger.approvals(model) if row["version"] == version],
        "rollouts": _rollouts(found, model, ledger),
    }


def _verdict(row: RowMapping) -> dict[str, object]:
    """A verdict; what it led to and what it was reached on are null in rows older than those columns."""
    return {
        "at": row["recorded_at"].isoformat(),
        "verdict": row["verdict"],
        "action": row["action"],
        "reason": row["reason"],
        "holdout": row["holdout"],
        **{name: row[name] and row[name].isoformat() for name in ("evaluation_start", "evaluation_end", "as_of")},
    }


def _approval(row: RowMapping) -> dict[str, object]:
    return {
        "at": row["answered_at"].isoformat(),
        "approved": row["approved"],
        "person": row["person"],
        "reason": row["reason"],
        "holdout": row["holdout"],
    }


def _rollouts(version: ModelVersion, model: str, ledger: Ledger) -> list[dict[str, object]]:
    return [
        {
            "rollout": row["id"],
            "state": row["state"],
            "events": [
                {"at": event["recorded_at"].isoformat(), "state": event["state"], "reason": event["reason"]}
                for event in ledger.rollout_events(row["id"])
            ],
        }
        for row in ledger.rollouts(model)
        if row["candidate"] == version.version
    ]
