"""A model whose requests leave features out: the server takes them from Feast's online store."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from prometheus_client.parser import text_string_to_metric_families
from schemathesis.specs.openapi.checks import positive_data_acceptance

from kilter.encoding import Signature
from kilter.keys import interval_key
from kilter.serving.lookup import Lookup
from kilter.serving.models import LoadedModel
from kilter.serving.openapi import document
from kilter.spec import ModelSpec, load_spec
from kilter.stores.deployment import Deployment, write_deployment
from kilter.stores.features import CREATED, FeatureStore
from kilter.stores.objects import FileObjects
from kilter.stores.online import OnlineRow
from kilter.stores.parquet import frame_to_parquet, from_parquet

from .conftest import MODEL, OTHER, ROW, SPEC, Installation, make_model, split, wait_until
from .test_openapi import Silent

STRICT, LENIENT = MODEL, OTHER
LEFT_OUT = ("origin_late_share", "carrier_late_share", "route_late_share", "temperature")
CARRIED = {name: value for name, value in ROW.items() if name not in LEFT_OUT}
AT = datetime(2013, 1, 3, 22, 29, tzinfo=UTC)
INTERVAL = AT.replace(hour=0, minute=0)
TIMEOUT = 2
"""Seconds; Feast waits 5 for an SQLite file that is locked."""


def serving(policy: str) -> dict[str, Any]:
    """The section of a spec."""
    return {"request": list(CARRIED), "missing": policy, "stale": policy, "timeout": f"{TIMEOUT}s"}


class Unread:
    """An online store that is not asked."""

    def read(self, entities: Sequence[str]) -> list[OnlineRow | None]:
        raise NotImplementedError


def strict_document() -> dict[str, Any]:
    """The OpenAPI document of the model that rejects."""
    spec = ModelSpec.model_validate(load_spec(SPEC).model_dump() | {"serving": serving("reject")})
    signature = Signature.of(spec)
    lookup = Lookup(spec, signature, Unread(), ThreadPoolExecutor(1), logging.getLogger("test"))
    deployment = Deployment(model=STRICT, version=1, key="", digest="")
    return document([LoadedModel(deployment, signature, Silent(), lookup)])


DOCUMENT = strict_document()
schema = schemathesis.openapi.from_dict(DOCUMENT).include(method="POST")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A champion server that holds a model which rejects what is not online, and one which takes it as missing."""
    made = Installation(tmp_path_factory.mktemp("installation"))
    for name, policy in ((STRICT, "reject"), (LENIENT, "default")):
        with (made.settings.models / name / "model.yaml").open("a") as file:
            file.write(f"\nserving: {json.dumps(serving(policy))}\n")
        put_online(made, name)
        model = make_model(made.objects, load_spec(made.settings.models / name), 1)
        deployment = Deployment(model=name, version=1, key=model.key, digest=model.digest)
        write_deployment(made.objects, "champion", name, deployment)
    try:
        made.start_server("champion")
        # Feast alone takes seconds to import.
        wait_until(lambda: answers(made), "the server answers", 90)
        yield made
    finally:
        made.stop()


def answers(installation: Installation) -> bool:
    assert installation.processes["champion"].poll() is None, installation.log("champion")
    try:
        return httpx.get(f"{installation.settings.champion}/ping").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def champion(installation: Installation) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=installation.settings.champion) as client:
        yield client


def put_online(installation: Installation, model: str) -> None:
    """One entity with the values of ROW, and one of which only the key is known."""
    spec, objects = load_spec(installation.settings.models / model), FileObjects(installation.home / "store")
    rows = [{"flight_id": "known", **ROW}, {"flight_id": "nulls", **dict.fromkeys(ROW)}]
    frame = pd.DataFrame(rows).assign(**{spec.timestamp: pd.Timestamp(AT), CREATED: pd.Timestamp(AT)})
    frame = frame.astype({name: "float64" for name in ROW if name not in ("origin", "carrier")})
    objects.put(interval_key("features", model, INTERVAL), frame_to_parquet(frame))
    where = installation.settings
    store = FeatureStore(spec, objects, where.feast_registry, where.online_store)
    assert store.materialize(INTERVAL, INTERVAL + timedelta(days=1)) == 2


def keys(flight: str = "known", at: datetime = AT) -> dict[str, Any]:
    return {"flight_id": flight, "scheduled_departure": at.isoformat()}


def invoke(client: httpx.Client, *rows: dict[str, Any], model: str = STRICT) -> httpx.Response:
    return client.post(f"/models/{model}/invocations", json=split(*rows))


def score(client: httpx.Client, row: dict[str, Any], model: str = STRICT) -> float:
    answer = invoke(client, row, model=model)
    assert answer.status_code == 200, answer.text
    return float(answer.json()["predictions"][0])


def counted(client: httpx.Client, model: str) -> dict[str, float]:
    """Rows looked up, by outcome."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        sample.labels["outcome"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name == "kilter_lookups_total" and sample.labels["model"] == model
    }


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json()["error"])


def test_what_is_left_out_is_scored_and_logged_as_it_is_online(
    installation: Installation, champion: httpx.Client
) -> None:
    whole = score(champion, ROW)
    assert whole != score(champion, CARRIED | dict.fromkeys(LEFT_OUT))
    answer = invoke(champion, keys() | CARRIED).json()
    assert answer["predictions"] == [whole]
    (row,) = logged(installation, answer["request_id"])
    assert {name: row[name] for name in LEFT_OUT} == {name: ROW[name] for name in LEFT_OUT}


def logged(installation: Installation, request_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def there() -> bool:
        for key in installation.objects.list(f"predictions/{STRICT}/"):
            rows = from_parquet(installation.objects.get(key), key).to_pylist()
            found.extend(row for row in rows if row["request_id"] == request_id)
        return bool(found)

    wait_until(there, "the row is logged")
    return found


def test_both_protocols_and_every_form_look_up(champion: httpx.Client) -> None:
    whole, row = score(champion, ROW), keys() | CARRIED
    for body in ({"dataframe_records": [row]}, {"instances": [row]}):
        assert champion.post(f"/models/{STRICT}/invocations", json=body).json()["predictions"] == [whole]
    inputs = [
        {"name": name, "shape": [1], "datatype": "BYTES" if isinstance(value, str) else "FP32", "data": [value]}
        for name, value in row.items()
    ]
    answer = champion.post(f"/v2/models/{STRICT}/infer", json={"inputs": inputs})
    assert answer.json()["outputs"][0]["data"] == [whole]


def test_what_the_request_carries_wins_and_null_is_carried(champion: httpx.Client) -> None:
    given = CARRIED | {"temperature": 90.0, "origin_late_share": None}
    expected = score(champion, given | {"carrier_late_share": None, "route_late_share": ROW["route_late_share"]})
    assert score(champion, keys() | given) == expected
    before = counted(champion, STRICT)
    score(champion, keys("nobody") | ROW)
    assert counted(champion, STRICT) == before


def test_a_null_that_is_online_is_no_missing_row(champion: httpx.Client) -> None:
    before = counted(champion, STRICT).get("found", 0)
    assert score(champion, keys("nulls") | CARRIED) == score(champion, CARRIED | dict.fromkeys(LEFT_OUT))
    assert counted(champion, STRICT)["found"] == before + 1


def test_a_row_without_its_entity_is_refused_where_something_is_left_out(champion: httpx.Client) -> None:
    for row in (CARRIED, {"flight_id": None, **CARRIED}):
        for model in (STRICT, LENIENT):
            status, error = refusal(invoke(champion, row, model=model))
            assert status == 400
            assert "column 'flight_id' is missing or null: origin_late_share, " in error
    status, error = refusal(invoke(champion, {**keys(), **CARRIED} | {"hour": "noon"}))
    assert (status, "feature 'hour' got 'noon'" in error) == (400, True)
    status, error = refusal(invoke(champion, keys()))
    assert (status, "feature 'hour' is missing" in error) == (400, True)


def test_an_entity_that_is_not_online_is_refused_or_scored_without_as_the_spec_says(champion: httpx.Client) -> None:
    rows = [keys() | CARRIED, keys("nobody") | CARRIED]
    status, error = refusal(invoke(champion, *rows))
    assert status == 422
    assert "row 1: flight_id 'nobody' has no features online: send origin_late_share, " in error
    scores = invoke(champion, *rows, model=LENIENT).json()["predictions"]
    assert scores == [
        score(champion, ROW, LENIENT),
        score(champion, CARRIED | dict.fromkeys(LEFT_OUT), LENIENT),
    ]
    assert counted(champion, LENIENT)["missing"] == counted(champion, STRICT)["missing"] == 1


def test_what_is_older_than_its_time_to_live_is_refused_or_scored_without_as_the_spec_says(
    champion: httpx.Client,
) -> None:
    late = keys(at=AT + timedelta(days=1, seconds=1)) | CARRIED
    status, error = refusal(invoke(champion, late))
    assert status == 422
    assert "has features of 2013-01-03T22:29:00+00:00 online, older than features.ttl 1 day, 0:00:00" in error
    assert score(champion, late, LENIENT) == score(champion, CARRIED | dict.fromkeys(LEFT_OUT), LENIENT)
    assert counted(champion, LENIENT)["stale"] == counted(champion, STRICT)["stale"] == 1
    score(champion, keys(at=AT + timedelta(days=1)) | CARRIED)


def test_without_an_event_time_it_is_the_time_of_the_request(champion: httpx.Client) -> None:
    status, error = refusal(invoke(champion, {"flight_id": "known"} | CARRIED))
    assert (status, "older than features.ttl" in error) == (422, True)


@contextmanager
def away(installation: Installation) -> Iterator[None]:
    """No online store meanwhile."""
    file = Path(installation.settings.online_store)
    file.rename(file.with_suffix(".away"))
    yield
    file.with_suffix(".away").rename(file)


@contextmanager
def locked(installation: Installation) -> Iterator[None]:
    """Somebody writes the online store, and takes long."""
    with sqlite3.connect(installation.settings.online_store, isolation_level=None) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        yield
        writer.execute("ROLLBACK")


def test_a_store_that_is_away_is_503_with_its_name_or_missing_features(
    installation: Installation, champion: httpx.Client
) -> None:
    with away(installation):
        status, error = refusal(invoke(champion, keys() | CARRIED))
        assert status == 503
        assert "origin_late_share, " in error
        assert f"online store {installation.settings.online_store} is absent" in error
        assert score(champion, keys() | CARRIED, LENIENT) == score(champion, CARRIED | dict.fromkeys(LEFT_OUT), LENIENT)
        assert score(champion, ROW) > 0
    assert counted(champion, LENIENT)["failed"] == counted(champion, STRICT)["failed"] == 1
    assert score(champion, keys() | CARRIED) == score(champion, ROW)
    assert "the online store answers again" in installation.log("champion")


def test_a_store_that_takes_long_holds_nobody_up(installation: Installation, champion: httpx.Client) -> None:
    slow: list[tuple[httpx.Response, float]] = []

    def ask(model: str) -> None:
        started = time.monotonic()
        with httpx.Client(base_url=champion.base_url) as client:
            slow.append((invoke(client, keys() | CARRIED, model=model), time.monotonic() - started))

    with locked(installation):
        waiting = [threading.Thread(target=ask, args=[model]) for model in [STRICT, LENIENT] * 5]
        for thread in waiting:
            thread.start()
        took = []
        while any(thread.is_alive() for thread in waiting):
            started = time.monotonic()
            score(champion, ROW)
            took.append(time.monotonic() - started)
        for thread in waiting:
            thread.join()
    assert sorted(answer.status_code for answer, _ in slow) == [200] * 5 + [503] * 5
    assert all(TIMEOUT <= seconds < 2 * TIMEOUT for _, seconds in slow)
    assert sorted(took)[len(took) // 2] < TIMEOUT / 2
    (error,) = {answer.json()["error"] for answer, _ in slow if answer.status_code == 503}
    assert "no answer within 2 s" in error

    def answers_again() -> bool:
        return invoke(champion, keys() | CARRIED).status_code == 200

    wait_until(answers_again, "the store is read again")


def test_a_request_of_more_rows_than_a_query_takes_is_looked_up_in_parts(champion: httpx.Client) -> None:
    rows = [keys("known" if place % 2 else f"nobody-{place}") | CARRIED for place in range(1200)]
    answer = invoke(champion, *rows, model=LENIENT)
    assert answer.status_code == 200
    scores = answer.json()["predictions"]
    assert scores[1::2] == pytest.approx([score(champion, ROW, LENIENT)] * 600, abs=1e-6)
    assert scores[0::2] == pytest.approx([score(champion, CARRIED | dict.fromkeys(LEFT_OUT), LENIENT)] * 600, abs=1e-6)


def test_the_protocols_tell_what_may_be_left_out(champion: httpx.Client) -> None:
    told = {tensor["name"]: tensor for tensor in champion.get(f"/v2/models/{STRICT}").json()["inputs"]}
    optional = {name for name, tensor in told.items() if tensor.get("parameters", {}).get("optional")}
    assert optional == {*LEFT_OUT, "flight_id", "scheduled_departure"}
    given = champion.get(f"/models/{STRICT}/openapi.json").json()
    assert given == DOCUMENT
    row = given["components"]["schemas"][f"{STRICT}.Row"]
    assert set(row["required"]) == set(CARRIED)
    assert row["anyOf"][0] == {"required": list(LEFT_OUT)}


@schema.parametrize()
@settings(
    max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
def test_it_keeps_to_its_document(champion: httpx.Client, case: schemathesis.Case) -> None:
    # A schema cannot say that rows are as wide as there are columns, nor what is online.
    case.call_and_validate(base_url=str(champion.base_url), excluded_checks=[positive_data_acceptance])
