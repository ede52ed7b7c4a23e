"""Where a model version comes from and what was decided about it: registry and ledger, as one trace."""

from __future__ import annotations

from kilter.stores.ledger import Ledger
from kilter.stores.registry import ModelVersion, Registry

_ROLES = ("champion", "predecessor", "candidate", "canary")


def trace(model: str, version: int, registry: Registry, ledger: Ledger) -> dict[str, object]:
    """Trace one version: its parts with their digests, who made it and why, its gate verdicts and rollouts.

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
        "gate": [
            {"at": row["recorded_at"].isoformat(), "verdict": row["verdict"], "reason": row["reason"]}
            for row in ledger.verdicts(model)
            if row["version"] == version
        ],
        "rollouts": _rollouts(found, model, ledger),
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
