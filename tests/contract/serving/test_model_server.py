"""The model server as a process: what it holds, answers, refuses and logs."""

from __future__ import annotations

import json
import signal
from datetime import timedelta

import httpx
import pytest

from kilter.encoding import Signature, encode
from kilter.errors import InputError, UnavailableError
from kilter.serving.models import load
from kilter.serving.server import BODY_BYTES
from kilter.stores.deployment import Deployment, write_deployment
from kilter.stores.objects import commit_dataset
from kilter.stores.parquet import from_parquet

from .conftest import KEYS, MODEL, OTHER, ROW, Installation, Traffic, make_model, split, wait_until


@pytest.fixture
def champion(installation: Installation):
    """The champion server with version 1."""
    installation.deploy("champion", 1)
    with httpx.Client(base_url=installation.settings.champion) as client:
        yield client


def invoke(client, row, model=MODEL):
    return client.post(f"/models/{model}/invocations", json=split(row))


def logged(installation, request_id):
    """Rows of the prediction log with this request id."""
    for key in installation.objects.list(f"predictions/{MODEL}/"):
        rows = from_parquet(installation.objects.get(key), key).to_pylist()
        if found := [row for row in rows if row["request_id"] == request_id]:
            return found
    return []


def test_it_scores_as_the_model_does_and_says_which_version_and_request(installation, champion):
    answer = invoke(champion, {**KEYS, **ROW})
    assert answer.status_code == 200
    held = installation.servers.deployed("champion", MODEL)
    matrix = encode({name: [value] for name, value in ROW.items()}, Signature.of(installation.spec))
    assert answer.json()["predictions"] == load(installation.objects, held).predict(matrix)
    assert answer.json()["model_version"] == 1
    assert answer.headers["x-model-version"] == "1"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


def test_ready_tells_the_digest_that_answers(installation, champion):
    ready = champion.get(f"/models/{MODEL}/ready").json()
    assert (ready["version"], ready["digest"]) == (1, installation.servers.deployed("champion", MODEL).digest)
    assert ready["predictor"] == "onnxruntime"
    assert champion.get("/ping").status_code == 200
    assert "version" in champion.get("/version").json()


def test_an_unknown_model_is_404_and_one_without_a_version_503(champion):
    assert invoke(champion, ROW, "nobody").status_code == 404
    missing = invoke(champion, ROW, OTHER)
    assert missing.status_code == 503
    assert "nothing was deployed" in missing.json()["error"]
    assert champion.get(f"/models/{OTHER}/ready").status_code == 503


def test_a_wrong_method_path_or_size_is_refused(champion):
    assert champion.get(f"/models/{MODEL}/invocations").status_code == 405
    assert champion.get("/").status_code == 404
    huge = champion.post(
        f"/models/{MODEL}/invocations",
        content=b" " * (BODY_BYTES + 1),
        headers={"content-type": "application/json"},
    )
    assert huge.status_code == 413
    assert invoke(champion, ROW).status_code == 200


def test_every_answer_is_in_the_log_within_seconds(installation, champion):
    request_id = invoke(champion, {**KEYS, **ROW}).json()["request_id"]
    wait_until(lambda: logged(installation, request_id), "the row is logged", 5)
    (row,) = logged(installation, request_id)
    assert (row["flight_id"], row["role"], row["model_version"]) == (KEYS["flight_id"], "champion", 1)
    assert row["origin"] == "JFK"
    assert row["carrier_late_share"] is None


def test_sigterm_writes_the_rest_of_the_log(installation, champion):
    request_id = invoke(champion, {**KEYS, **ROW}).json()["request_id"]
    installation.kill("champion", signal.SIGTERM)
    assert installation.processes["champion"].returncode in (0, -signal.SIGTERM)
    assert logged(installation, request_id)
    installation.start_server("champion")
    installation.wait_for_server("champion")
    assert champion.get(f"/models/{MODEL}/ready").json()["version"] == 1


def test_a_restarted_server_costs_no_request_behind_haproxy(installation, champion):
    installation.deploy("canary", 1)
    installation.router.shift(MODEL, 50)
    with Traffic(installation.settings.endpoint) as traffic:
        wait_until(lambda: len(traffic.versions) > 50, "answers")
        installation.kill("canary", signal.SIGTERM)
        installation.start_server("canary")
        wait_until(lambda: installation.router.counters(MODEL)["canary"].up, "the canary is back")
        enough = len(traffic.versions) + 50
        wait_until(lambda: len(traffic.versions) > enough, "answers")
    installation.router.shift(MODEL, 0)
    assert traffic.failures == []


def test_versions_swap_under_load_without_a_failed_request(installation, champion):
    with Traffic(installation.settings.endpoint) as traffic:
        for version in (2, 3, 4):
            installation.deploy("champion", version)
            enough = len(traffic.versions) + 20
            wait_until(lambda enough=enough: len(traffic.versions) > enough, "answers")
    assert traffic.failures == []
    assert set(traffic.versions) == {1, 2, 3, 4}


def refused(installation, deployment):
    """Desire something that must not be loaded; return why the server does not."""
    before = installation.servers.deployed("champion", MODEL)
    url = f"{installation.settings.champion}/models/{MODEL}/ready"
    write_deployment(installation.objects, "champion", MODEL, deployment)
    wait_until(lambda: "problem" in httpx.get(url).json(), "the server reports a problem")
    ready = httpx.get(url).json()
    assert ready["digest"] == before.digest
    write_deployment(installation.objects, "champion", MODEL, before)
    wait_until(lambda: "problem" not in httpx.get(url).json(), "the problem is gone")
    return ready["problem"]


def desired(manifest, **changes):
    fields = {"model": MODEL, "version": 9, "key": manifest.key, "digest": manifest.digest}
    return Deployment(**fields | changes)


def test_an_altered_model_is_refused_and_the_one_before_stays(installation, champion):
    made = make_model(installation.objects, installation.spec, 77)
    key = f"{made.key}/model.ubj"
    installation.objects.put(key, installation.objects.get(key).replace(b"binary:logistic", b"binary:logitraw"))
    assert "was altered" in refused(installation, desired(made))


def test_an_altered_manifest_is_refused(installation, champion):
    made = make_model(installation.objects, installation.spec, 78)
    other = make_model(installation.objects, installation.spec, 79)
    forged = made.model_copy(update={"files": other.files})
    installation.objects.put(f"{made.key}/manifest.json", forged.model_dump_json().encode())
    assert "was altered" in refused(installation, desired(made))


def test_a_model_in_another_format_is_refused(installation, champion):
    signature = Signature.of(installation.spec).model_dump_json().encode()
    for bad in (b"\x80\x04pickle", json.dumps({"learner": {}}).encode(), b"{}", b"", b"{L"):
        files = {"model.ubj": bad, "signature.json": signature}
        made = commit_dataset(installation.objects, f"models/{MODEL}", files)
        assert "no XGBoost model in UBJSON" in refused(installation, desired(made))
    files = {"model.pkl": b"\x80\x04", "signature.json": signature}
    assert "no file 'model.ubj'" in refused(
        installation, desired(commit_dataset(installation.objects, f"models/{MODEL}", files))
    )


def test_a_key_outside_the_models_is_refused(installation, champion):
    made = make_model(installation.objects, installation.spec, 1)
    assert "deploy it with the registry's key" in refused(installation, desired(made, key="../../etc"))
    with pytest.raises(InputError, match="give the registry's key"):
        installation.servers.deploy("champion", MODEL, 9, "elsewhere", made.digest)


def test_a_desired_state_that_was_lost_is_a_problem_and_the_version_stays(installation, champion):
    held = champion.get(f"/models/{MODEL}/ready").json()["digest"]
    desired = installation.home / f"store/serving/{MODEL}/champion.json"
    text = desired.read_bytes()
    desired.unlink()
    wait_until(lambda: "problem" in champion.get(f"/models/{MODEL}/ready").json(), "the server reports a problem")
    ready = champion.get(f"/models/{MODEL}/ready").json()
    assert (ready["digest"], "champion.json is absent" in ready["problem"]) == (held, True)
    assert invoke(champion, ROW).status_code == 200
    desired.write_bytes(text)
    wait_until(lambda: "problem" not in champion.get(f"/models/{MODEL}/ready").json(), "the problem is gone")


def test_a_model_that_is_withdrawn_is_unloaded(installation, champion):
    installation.servers.withdraw("champion", MODEL)
    wait_until(lambda: champion.get(f"/models/{MODEL}/ready").status_code == 503, "the server forgets it")
    assert "nothing was deployed" in champion.get(f"/models/{MODEL}/ready").json()["error"]
    installation.deploy("champion", 1)


def test_a_damaged_desired_state_is_written_anew_by_the_next_deployment(installation, champion):
    installation.objects.put(f"serving/{MODEL}/champion.json", b"{}")
    wait_until(lambda: "problem" in champion.get(f"/models/{MODEL}/ready").json(), "the server reports a problem")
    installation.deploy("champion", 1)
    wait_until(lambda: "problem" not in champion.get(f"/models/{MODEL}/ready").json(), "the problem is gone")


def test_a_deployment_that_does_not_arrive_is_unavailable_and_says_why(installation, champion):
    with pytest.raises(UnavailableError, match="no object at"):
        installation.servers.deploy("champion", MODEL, 9, f"models/{MODEL}/gone", "gone", timedelta(seconds=1))
    installation.deploy("champion", 1)
