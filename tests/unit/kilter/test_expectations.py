"""expectations.json: parsed once, mistakes named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kilter.errors import SpecError
from kilter.expectations import load_expectations
from kilter.spec import load_spec

FLIGHTS = Path(__file__).parents[3] / "include/models/flight_delay"
SPEC = load_spec(FLIGHTS)


def mistake(tmp_path: Path, content: Any) -> str:
    file = tmp_path / "expectations.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(SpecError) as caught:
        load_expectations(tmp_path, SPEC)
    return str(caught.value).replace(f"{file}: ", "")


def good() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FLIGHTS / "expectations.json").read_text())
    return content


def test_the_flights_expectations_are_fine() -> None:
    expectations = load_expectations(FLIGHTS, SPEC)
    assert set(expectations.tables) == {"flights", "weather"}


def test_no_file_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"expectations\.json: cannot be read .*every model folder needs it"):
        load_expectations(tmp_path, SPEC)


def test_no_json_says_where(tmp_path: Path) -> None:
    assert mistake(tmp_path, "{").startswith("is not JSON: ")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ({"type": "text", "mostly": 1}, "tables.flights.carrier.mostly: unknown key (value 1)"),
        ({"type": "money"}, "tables.flights.carrier.type: got 'money'"),
        ({"type": "text", "minimum": 0}, "minimum and maximum are for type number, not text: remove them"),
        ({"type": "number", "categories": ["a"]}, "categories are for type text, not number: remove them"),
        ({"type": "number", "outliers": 0.1}, "outliers has no meaning without minimum or maximum"),
        ({"type": "text", "nulls": 2}, "tables.flights.carrier.nulls: got 2"),
    ],
)
def test_a_wrong_column_is_named(tmp_path: Path, column: dict[str, Any], expected: str) -> None:
    content = good()
    content["tables"]["flights"]["carrier"] = column
    assert expected in mistake(tmp_path, content)


def test_other_tables_than_the_specs_are_named(tmp_path: Path) -> None:
    content = good()
    content["tables"]["planes"] = content["tables"].pop("weather")
    assert mistake(tmp_path, content) == (
        "tables: got ['flights', 'planes'], model.yaml has ['flights', 'weather']: make them agree"
    )


def test_a_key_or_time_column_must_be_listed(tmp_path: Path) -> None:
    content = good()
    del content["tables"]["flights"]["flight_id"]
    content["tables"]["weather"]["observed_at"] = {"type": "text"}
    assert mistake(tmp_path, content).splitlines() == [
        "tables.flights: column 'flight_id' of model.yaml's source.tables.flights is not listed: add it",
        "tables.weather.observed_at.type: got 'text', the event time needs 'time'",
    ]
