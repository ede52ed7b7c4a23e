"""What comes of a row whose features are looked up, by what is online and what the spec says."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from kilter.encoding import Signature
from kilter.errors import SpecError, UnavailableError
from kilter.serving.lookup import Found, Lookup, looks_up
from kilter.serving.request import RefusedRequest, Rows, rows_of
from kilter.spec import Feature, ModelSpec, load_spec
from kilter.stores.online import OnlineRow, OnlineStore

FLIGHTS = Path(__file__).parents[4] / "include/models/flight_delay"
SIGNATURE = Signature(
    entity="flight_id",
    timestamp="departure",
    features=(
        Feature(name="distance"),
        Feature(name="origin", kind="categorical", categories=("EWR", "JFK")),
        Feature(name="hour"),
    ),
)
NOW = datetime(2013, 5, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LOG = logging.getLogger("test")


class Shelf:
    """An online store in memory; holds what it is given, and fails or waits where it is told to."""

    def __init__(self, rows: dict[str, OnlineRow], fails: Exception | None = None) -> None:
        self.rows = rows
        self.fails = fails
        self.open = threading.Event()
        self.open.set()
        self.asked: list[list[str]] = []

    def read(self, entities: Sequence[str]) -> list[OnlineRow | None]:
        self.asked.append(list(entities))
        self.open.wait(5)
        if self.fails:
            raise self.fails
        return [self.rows.get(entity) for entity in entities]


def spec_with(**serving: Any) -> ModelSpec:
    """The flights' spec, whose requests carry the hour."""
    spec = load_spec(FLIGHTS)
    wanted = {"request": ("hour",), "timeout": "5s"} | serving
    return ModelSpec.model_validate(spec.model_dump() | {"serving": wanted})


def lookup(store: OnlineStore, **serving: Any) -> Lookup:
    return Lookup(spec_with(**serving), SIGNATURE, store, ThreadPoolExecutor(2), LOG)


def rows(*entities: str, at: datetime = NOW) -> Rows:
    """Requests that carry the entity and the hour."""
    columns = {
        "flight_id": entities,
        "hour": [float(place) for place in range(len(entities))],
        "departure": [at.isoformat()] * len(entities),
    }
    return rows_of(columns, len(entities), SIGNATURE, NOW, ("distance", "origin"))


def online(at: datetime = NOW, **values: Any) -> OnlineRow:
    return OnlineRow(at, {"distance": 7.0, "origin": "JFK", "hour": 99.0} | values)


def completed(looking: Lookup, asked: Rows) -> tuple[Found, Rows]:
    found = asyncio.run(looking.find(asked))
    return found, looking.complete(asked, found)


def test_what_is_online_takes_the_place_of_what_was_left_out_and_of_nothing_else() -> None:
    found, done = completed(lookup(Shelf({"a": online(), "b": online(distance=8.5, origin=None)})), rows("b", "a"))
    assert found.outcomes == ["found", "found"]
    assert np.array_equal(done.matrix, [[8.5, np.nan, 0], [7, 1, 1]], equal_nan=True)
    assert done.columns == {"distance": [8.5, 7.0], "origin": [None, "JFK"], "hour": [0.0, 1.0]}


def test_only_features_of_the_version_that_the_spec_looks_up_may_be_left_out() -> None:
    signature = SIGNATURE.model_copy(update={"features": (*SIGNATURE.features, Feature(name="forgotten"))})
    looking = Lookup(spec_with(), signature, Shelf({}), ThreadPoolExecutor(1), LOG)
    assert looking.names == ("distance", "origin")


@pytest.mark.parametrize(
    ("entity", "at", "outcome", "policy"),
    [
        ("a", NOW, "found", {}),
        ("a", NOW + DAY, "found", {}),
        ("a", NOW + DAY + timedelta(seconds=0.9), "found", {}),
        ("a", NOW + DAY + timedelta(seconds=1), "stale", {"stale": "default"}),
        ("a", NOW - DAY, "found", {}),
        ("b", NOW, "missing", {"missing": "default"}),
    ],
)
def test_a_row_is_found_missing_or_stale_at_its_event_time(
    entity: str, at: datetime, outcome: str, policy: dict[str, str]
) -> None:
    found, done = completed(lookup(Shelf({"a": online()}), **policy), rows(entity, at=at))
    assert found.outcomes == [outcome]
    assert np.isnan(done.matrix[0, 0]) == (outcome != "found")


@pytest.mark.parametrize(
    ("store", "at", "status", "told"),
    [
        (Shelf({}), NOW, 422, "row 0: flight_id 'a' has no features online: send distance, origin in the request"),
        (Shelf({"a": online()}), NOW + 2 * DAY, 422, "has features of 2013-05-02T12:00:00+00:00 online, older than"),
        (Shelf({}, UnavailableError("redis: refused")), NOW, 503, "distance, origin cannot be looked up: redis: refu"),
        (Shelf({}, ValueError("odd")), NOW, 503, "cannot be looked up: ValueError: odd"),
    ],
)
def test_what_is_not_found_ends_the_request_where_the_spec_rejects(
    store: Shelf, at: datetime, status: int, told: str
) -> None:
    looking = lookup(store)
    asked = rows("a", at=at)
    found = asyncio.run(looking.find(asked))
    with pytest.raises(RefusedRequest) as refused:
        looking.complete(asked, found)
    assert refused.value.status == status
    assert told in str(refused.value)


@pytest.mark.parametrize("fault", [UnavailableError("redis: refused"), ValueError("odd")])
def test_a_store_that_fails_leaves_features_missing_where_the_spec_says_default(fault: Exception) -> None:
    found, done = completed(lookup(Shelf({}, fault), missing="default"), rows("a", "b"))
    assert found.outcomes == ["failed", "failed"]
    assert np.array_equal(done.matrix, [[np.nan, np.nan, 0], [np.nan, np.nan, 1]], equal_nan=True)


def test_a_value_online_that_fits_no_feature_is_the_stores_fault() -> None:
    looking = lookup(Shelf({"a": online(distance="far")}), missing="default")
    asked = rows("a")
    with pytest.raises(RefusedRequest, match="online store: feature 'distance' got 'far'") as refused:
        looking.complete(asked, asyncio.run(looking.find(asked)))
    assert refused.value.status == 503


def test_a_store_that_takes_long_is_given_up_and_holds_no_other_request_up() -> None:
    store = Shelf({"a": online()})
    looking = lookup(store, missing="default", timeout="100ms")
    store.open.clear()

    async def ask() -> tuple[list[Found], float]:
        """Eight look-ups at once, and the longest that the loop stood still."""
        asking = asyncio.gather(*(looking.find(rows("a")) for _ in range(8)))
        longest = 0.0
        while not asking.done():
            before = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - before)
        return await asking, longest

    found, longest = asyncio.run(ask())
    assert {item.problem for item in found} == {"no answer within 0.1 s: raise serving.timeout, or send fewer rows"}
    assert longest < 2, "the store stays shut for 5 s"
    # Those that no thread had begun are not read any more.
    store.open.set()
    assert len(store.asked) == 2
    assert asyncio.run(looking.find(rows("a"))).outcomes == ["found"]


def test_that_a_store_fails_and_answers_again_is_logged_once_each(caplog: pytest.LogCaptureFixture) -> None:
    store = Shelf({"a": online()}, UnavailableError("redis: refused"))
    looking = lookup(store, missing="default")
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            asyncio.run(looking.find(rows("a")))
        store.fails = None
        for _ in range(3):
            asyncio.run(looking.find(rows("a")))
    assert [record.getMessage() for record in caplog.records] == [
        "flight_delay: look-ups: redis: refused",
        "flight_delay: look-ups: the online store answers again",
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[dict[str, Any] | None], Path]:
    """Makes a folder of models, with this section in the flights' spec."""

    def made(serving: dict[str, Any] | None) -> Path:
        content = yaml.safe_load((FLIGHTS / "model.yaml").read_text())
        (tmp_path / "flight_delay").mkdir()
        (tmp_path / "flight_delay/model.yaml").write_text(
            yaml.safe_dump(content | ({"serving": serving} if serving else {}))
        )
        return tmp_path

    return made


def never(spec: ModelSpec) -> OnlineStore:
    raise AssertionError(f"opened for {spec.name}")


def test_no_store_is_opened_where_requests_carry_everything(folder: Callable[..., Path]) -> None:
    assert looks_up(folder(None), never, LOG)("flight_delay", SIGNATURE) is None


def test_no_store_is_opened_for_a_version_without_any_of_the_features(folder: Callable[..., Path]) -> None:
    look_up = looks_up(folder({"request": ["distance", "origin", "hour"]}), never, LOG)
    assert look_up("flight_delay", SIGNATURE) is None


def test_a_version_whose_features_may_be_left_out_gets_look_ups(folder: Callable[..., Path]) -> None:
    looking = looks_up(folder({"request": ["hour"]}), lambda spec: Shelf({}), LOG)("flight_delay", SIGNATURE)
    assert looking is not None
    assert looking.names == ("distance", "origin")


def test_a_spec_that_cannot_be_read_is_an_error(folder: Callable[..., Path]) -> None:
    with pytest.raises(SpecError):
        looks_up(folder({"request": ["speed"]}), never, LOG)("flight_delay", SIGNATURE)
