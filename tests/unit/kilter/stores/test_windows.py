"""Windows in the object store: a large one is read by its sample, with the facts of the whole."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from kilter.spec import ModelSpec, load_spec
from kilter.stores import windows
from kilter.stores.objects import MemoryObjects, read_manifest
from kilter.stores.windows import commit_window, read_window

START = datetime(2013, 1, 1, tzinfo=UTC)
SPEC = load_spec(Path(__file__).parents[4] / "include/models/flight_delay")


def table(rows: int) -> pa.Table:
    """Flights of one column with values, one a minute, of which every fifth lacks its hour and every second its label."""
    place = np.arange(rows)
    hours = pa.array(np.where(place % 5, place % 24, np.nan).astype(float))
    empty = {name: pa.nulls(rows, pa.float64()) for name in SPEC.features.names}
    return pa.table(
        {
            **empty,
            "hour": hours,
            SPEC.timestamp: pa.array(
                [START + timedelta(minutes=int(minute)) for minute in place], pa.timestamp("us", "UTC")
            ),
            "model_version": pa.array(np.ones(rows, np.int64)),
            SPEC.label.column: pa.array(place % 2, pa.int8(), mask=place % 2 == 0),
        }
    )


def stored(spec: ModelSpec, rows: int, seed: int = 7) -> tuple[MemoryObjects, str]:
    objects = MemoryObjects()
    return objects, commit_window(objects, spec, table(rows), START, START + timedelta(days=1), seed).key


@pytest.mark.parametrize("rows", [1000, 400])
def test_a_window_is_read_with_the_facts_of_all_its_rows(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "SAMPLE_ROWS", 500)
    objects, key = stored(SPEC, rows)
    window = read_window(objects, SPEC, key)
    assert len(window.frame) == min(rows, 500)
    assert (window.rows, window.labelled, window.null_shares["hour"]) == (rows, rows // 2, 0.2)
    assert (window.start, window.newest) == (START, START + timedelta(minutes=rows - 1))


def test_a_sample_is_drawn_without_replacement_in_order_and_states_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "SAMPLE_ROWS", 500)
    objects, key = stored(SPEC, 1000)
    times = read_window(objects, SPEC, key).frame[SPEC.timestamp]
    assert times.is_monotonic_increasing
    assert times.is_unique
    assert read_manifest(objects, key).facts["sample"] == {"rows": 500, "seed": 7}
    assert stored(SPEC, 1000)[1] == key
    assert stored(SPEC, 1000, seed=8)[1] != key


def test_an_empty_window_has_no_newest_row_and_no_null_shares() -> None:
    objects, key = stored(SPEC, 0)
    window = read_window(objects, SPEC, key)
    assert (window.rows, window.newest, window.null_shares) == (0, None, {})
