"""A model of manufactured parts, for any task."""

from __future__ import annotations

from typing import Any

import yaml

from kilter.spec import ModelSpec

SPEC = yaml.safe_load(
    """
name: parts
description: Quality of a part.
owner: tests
task: binary
entity: part
timestamp: made_at
label: {column: quality, timestamp: tested_at, delay: 1h}
schedule: {cron: "0 0 * * *", start: 2024-01-01T00:00:00Z}
source: {kind: files, tables: {parts: {timestamp: made_at, path: x}}}
features: {ttl: 1d, online: 1d, columns: [{name: heat}, {name: line, kind: categorical, categories: [a, b]}]}
training: {trainer: xgboost}
evaluation: {metrics: [brier], block: 1h}
gate: {thresholds: {}}
drift: {minimum_rows: 100, allowed_decay: 0.02}
"""
)
CLASSES = ("good", "rework", "scrap")


def spec_of(task: str) -> ModelSpec:
    changes: dict[str, Any] = {"task": task}
    if task == "multiclass":
        changes["label"] = SPEC["label"] | {"classes": list(CLASSES)}
    metric = "mae" if task == "regression" else "brier"
    changes["evaluation"] = SPEC["evaluation"] | {"metrics": [metric]}
    changes["gate"] = {
        "thresholds": {metric: 1.0},
        "against_champion": {"allowed_regression": 0.1},
    }
    changes["watch"] = {"allowed_regression": 0.1}
    return ModelSpec.model_validate(SPEC | changes)
