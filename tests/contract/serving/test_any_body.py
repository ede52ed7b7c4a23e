"""Whatever is sent, the server refuses it by name or answers it: never a 5xx, never an exception."""

import asyncio
import json
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kilter.serving.lookup import Lookup
from kilter.serving.models import LiveModels, looks_nothing_up
from kilter.serving.prediction_log import SPOOL_BYTES, PredictionLog
from kilter.serving.server import ModelServer
from kilter.serving.spool import Spool
from kilter.spec import ModelSpec, load_spec
from kilter.stores.deployment import Deployment, write_deployment
from kilter.stores.objects import FileObjects
from kilter.stores.online import OnlineRow

from .conftest import KEYS, MODEL, ROW, SPEC, make_model, split

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([*KEYS, *ROW, "no_such_column"])
DATATYPES = st.sampled_from(["FP32", "FP64", "INT8", "UINT64", "BYTES", "BOOL"])
INVOKE, INFER = f"/models/{MODEL}/invocations", f"/v2/models/{MODEL}/infer"
PATHS = st.sampled_from(
    ["invocations", "ready", "", "x/y", "openapi.json", "infer", "versions/1/infer", "health/live"]
) | st.text(max_size=8)


class OneFlight:
    """An online store that holds the flight of KEYS alone."""

    def read(self, entities):
        row = OnlineRow(datetime.fromisoformat(KEYS["scheduled_departure"]), ROW)
        return [row if entity == KEYS["flight_id"] else None for entity in entities]


def looks_up(model, signature):
    """A request need carry the hour alone."""
    spec = ModelSpec.model_validate(load_spec(SPEC).model_dump() | {"serving": {"request": ["hour"], "timeout": "5s"}})
    return Lookup(spec, signature, OneFlight(), ThreadPoolExecutor(1), logging.getLogger("test"))


@pytest.fixture(scope="module", params=[looks_nothing_up, looks_up])
def ask(request, tmp_path_factory):
    """A function that gives one request to the application and returns status and answer."""
    objects = FileObjects(tmp_path_factory.mktemp("store"))
    made = make_model(objects, load_spec(SPEC), 1)
    write_deployment(objects, "champion", MODEL, Deployment(model=MODEL, version=1, key=made.key, digest=made.digest))
    spool = Spool(tmp_path_factory.mktemp("spool"), SPOOL_BYTES)
    log = PredictionLog(spool, objects, "champion", logging.getLogger("test"))
    models = LiveModels(objects, "champion", lambda: [MODEL], logging.getLogger("test"), request.param)
    models.refresh()
    server = ModelServer(models, log)

    def one(body, path=INVOKE, method="POST"):
        sent = []

        async def receive():
            return {"type": "http.request", "body": body}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": [(b"content-type", b"application/json")]}
        asyncio.run(server(scope, receive, send))
        told, text = dict(sent[0]["headers"])[b"content-type"], sent[1]["body"].decode()
        return sent[0]["status"], json.loads(text) if told == b"application/json" else text

    log.start()
    yield one
    log.stop()
    # Whatever was answered is in the log, and what was refused has not harmed it.
    assert (log.state.waiting, log.state.dropped) == (0, 0)


def refused_or_answered(answer):
    status, content = answer
    assert status == 200 or 400 <= status < 500, content
    if status == 200:
        scores = content["predictions"] if "predictions" in content else content["outputs"][0]["data"]
        assert all(0 <= score <= 1 for score in scores)
    else:
        assert 0 < len(content["error"]) <= 2000
        assert content["request_id"]
        assert content["model_version"] == 1


many = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@many
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 1_000_000)
@example(b'{"dataframe_records":[{"\\ud800":1}]}')
@example(b'{"dataframe_records":[{"\\ud800":NaN}]}')
def test_any_bytes(ask, body):
    refused_or_answered(ask(body))
    refused_or_answered(ask(body, INFER))


@many
@given(columns=st.lists(NAMES, max_size=4), data=st.lists(st.lists(JSON, max_size=4), max_size=3))
def test_any_table(ask, columns, data):
    refused_or_answered(ask(json.dumps({"dataframe_split": {"columns": columns, "data": data}}).encode()))


@many
@given(
    instances=st.lists(st.lists(JSON, min_size=len(ROW), max_size=len(ROW)), max_size=3) | st.lists(JSON, max_size=3)
)
def test_any_instances(ask, instances):
    refused_or_answered(ask(json.dumps({"instances": instances}).encode()))


@many
@given(
    left_out=st.sets(st.sampled_from(list(ROW))),
    keys=st.fixed_dictionaries({}, optional={"flight_id": JSON, "scheduled_departure": st.text(max_size=5)})
    | st.just(KEYS),
)
def test_any_columns_left_out(ask, left_out, keys):
    row = keys | {name: value for name, value in ROW.items() if name not in left_out}
    refused_or_answered(ask(json.dumps({"instances": [row]}).encode()))


def tensor(name, shape, datatype, data):
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


SHAPES = st.lists(st.integers(-1, 3) | st.sampled_from([len(ROW), 10**30]), max_size=3)
TENSORS = st.builds(tensor, NAMES, SHAPES, DATATYPES | st.text(max_size=4), st.lists(JSON, max_size=3))


@many
@given(inputs=st.lists(TENSORS, max_size=3))
def test_any_tensors(ask, inputs):
    refused_or_answered(ask(json.dumps({"inputs": inputs}).encode(), INFER))


@many
@given(name=NAMES, shape=SHAPES | st.just([1]), datatype=DATATYPES, data=JSON | st.lists(JSON, min_size=1, max_size=1))
@example(name="distance", shape=[1], datatype="FP32", data=[math.inf])
@example(name="distance", shape=[1], datatype="FP64", data=[10**400])
@example(name="origin", shape=[1], datatype="BYTES", data=["\ud800"])
def test_any_tensor_among_good_ones(ask, name, shape, datatype, data):
    good = {
        column: tensor(column, [1], "BYTES" if isinstance(value, str) else "FP32", [value])
        for column, value in {**KEYS, **ROW}.items()
    }
    inputs = list((good | {name: tensor(name, shape, datatype, data)}).values())
    refused_or_answered(ask(json.dumps({"inputs": inputs}).encode(), INFER))


@many
@given(values=st.lists(JSON | st.floats(0, 2) | st.integers(0, 2), min_size=len(ROW), max_size=len(ROW)))
@example(values=[0] * len(ROW))
@example(values=[1e308] * len(ROW))
def test_any_matrix(ask, values):
    body = {"inputs": [tensor("all", [1, len(ROW)], "FP64", values)]}
    refused_or_answered(ask(json.dumps(body).encode(), INFER))


@many
@given(name=NAMES, value=JSON | st.sampled_from([1e39, -1e39, 10**400, "9999-12-31T23:59:59-12:00", "\x00"]))
@example(name="distance", value=math.inf)
@example(name="distance", value="a" * 100_000)
@example(name="flight_id", value="\ud800")
@example(name="scheduled_departure", value="0001-01-01T00:00:00+12:00")
def test_any_value_in_an_otherwise_good_row(ask, name, value):
    refused_or_answered(ask(json.dumps(split({**KEYS, **ROW, name: value})).encode()))


@many
@given(path=PATHS, method=st.sampled_from(["GET", "POST", "PUT"]))
@example(path="metrics", method="GET")
@example(path="docs", method="GET")
def test_any_path_and_method(ask, path, method):
    for base in ("", f"/models/{MODEL}", "/v2", f"/v2/models/{MODEL}"):
        status, content = ask(b"{}", f"{base}/{path}", method)
        assert status == 200 or 400 <= status < 500, content
