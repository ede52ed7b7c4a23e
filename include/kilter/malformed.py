"""Requests that no model server may answer with predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kilter.spec import Features


def malformed_bodies(row: Mapping[str, Any], features: Features) -> dict[str, bytes]:
    """Bodies by what is wrong with each; all else about them is right.

    Args:
        row: a good value for each feature.
    """
    names = list(features.names)
    values = [row[name] for name in names]
    tables: dict[str, tuple[list[str], list[list[Any]]]] = {
        "no rows": (names, []),
        "an unknown column": ([*names, "no_such_feature"], [[*values, 1]]),
        "a missing column": (names[1:], [values[1:]]),
        "a column given twice": ([*names, names[0]], [[*values, values[0]]]),
        "a row that is too short": (names, [values, values[:-1]]),
        "a row that is too long": (names, [[*values, 1]]),
    }
    for place, feature in enumerate(features.columns):
        what, wrong = ("a number for a category", 1) if feature.categories else ("a text for a number", "many")
        tables.setdefault(what, (names, [[*values[:place], wrong, *values[place + 1 :]]]))
    bodies = {what: _split(columns, data) for what, (columns, data) in tables.items()}
    whole = _split(names, [values])
    return bodies | {
        "no JSON": whole[:-1],
        "no text": b"\xff\xfe\x00" + whole,
        "no table": b"{}",
        "a list for a table": b"[]",
        "nothing in it": b"",
    }


def _split(columns: list[str], data: list[list[Any]]) -> bytes:
    return json.dumps({"dataframe_split": {"columns": columns, "data": data}}).encode()
