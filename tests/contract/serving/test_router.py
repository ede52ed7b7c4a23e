"""The router against a real HAProxy with real model servers behind it."""

import collections

import httpx
import pytest

from kilter.errors import InputError, UnavailableError
from kilter.stores.router import Router

from .conftest import KEYS, MODEL, OTHER, ROW, STICKY, make_model, split, wait_until


@pytest.fixture(autouse=True)
def _two_versions(installation):
    installation.router.shift(MODEL, 0)
    installation.deploy("champion", 1)
    installation.deploy("canary", 2)


def ask(installation, times):
    """Versions that answered, by count."""
    url = f"{installation.settings.endpoint}/models/{MODEL}/invocations"
    with httpx.Client() as client:
        answers = [client.post(url, json=split({**KEYS, **ROW})) for _ in range(times)]
    return collections.Counter(answer.raise_for_status().json()["model_version"] for answer in answers)


def test_the_static_configuration_sends_everything_to_the_champion(installation):
    assert installation.router.weights(MODEL) == {"champion": 100, "canary": 0}
    assert ask(installation, 40) == {1: 40}


def test_weights_are_shares_of_the_requests_counted_by_haproxy(installation):
    for weight in (10, 50, 100):
        installation.router.shift(MODEL, weight)
        before = installation.router.counters(MODEL)
        answered = ask(installation, 100)
        after = installation.router.counters(MODEL)
        taken = after["canary"].requests - before["canary"].requests
        assert answered[2] == taken
        assert abs(taken - weight) <= 1
        assert after["canary"].errors == before["canary"].errors


def test_weights_of_one_model_leave_the_others_alone(installation):
    installation.router.shift(MODEL, 50)
    assert installation.router.weights(OTHER) == {"champion": 100, "canary": 0}


def test_a_restarted_haproxy_is_back_at_the_champion(installation):
    installation.router.shift(MODEL, 50)
    installation.kill("haproxy")
    installation.start_haproxy()
    assert installation.router.weights(MODEL) == {"champion": 100, "canary": 0}


def test_a_canary_without_traffic_is_still_checked(installation):
    installation.servers.withdraw("canary", MODEL)
    wait_until(lambda: not installation.router.counters(MODEL)["canary"].up, "HAProxy notices")
    installation.deploy("canary", 2)
    assert installation.router.counters(MODEL)["canary"].up


def test_an_unknown_model_is_refused_with_the_cure(installation):
    with pytest.raises(InputError, match="haproxy-config"):
        installation.router.weights("nobody")
    answer = httpx.get(f"{installation.settings.endpoint}/models/nobody/ready")
    assert answer.status_code == 404
    assert MODEL in answer.json()["error"]


def test_both_protocols_reach_the_back_end_and_a_longer_name_does_not(installation):
    endpoint = installation.settings.endpoint
    for path in (f"/models/{MODEL}/ping", f"/v2/models/{MODEL}", f"/v2/models/{MODEL}/ready"):
        assert httpx.get(f"{endpoint}{path}").headers["x-model-version"] == "1", path
    for path in (f"/v2/models/{MODEL}2", f"/v2/models/{MODEL}2/ready", "/v2"):
        assert httpx.get(f"{endpoint}{path}").status_code == 404, path


def test_a_weight_that_is_no_percentage_is_refused(installation):
    with pytest.raises(InputError, match="101"):
        installation.router.shift(MODEL, 101)


def test_a_silent_router_is_unavailable():
    with pytest.raises(UnavailableError, match="KILTER_ROUTER"):
        Router("127.0.0.1:9").weights(MODEL)
    with pytest.raises(InputError, match="host:port"):
        Router("nowhere")


def test_answers_are_told_by_the_server_itself_and_not_to_clients_of_the_router(installation):
    made = installation.deploy("champion", 1)
    for _ in range(3):
        httpx.post(f"{installation.url('champion')}/models/{MODEL}/invocations", json=split({**KEYS, **ROW}))
    told = installation.servers.answers("champion", MODEL)
    assert told.digest == made.digest
    assert len(installation.servers.answers("champion", MODEL, after=told.requests - 2).newest) == 2
    seconds, score = told.newest[-1]
    assert 0 < seconds < 5
    assert 0 <= score <= 1
    for path in ("answers", "answers/", "%61nswers//", "copies"):
        assert httpx.get(f"{installation.settings.endpoint}/models/{MODEL}/{path}?after=0").status_code == 403
    assert httpx.get(f"{installation.url('champion')}/models/{MODEL}/answers").status_code == 400


def test_with_a_sticky_header_one_value_goes_to_one_version_and_weights_are_shares_of_the_values(installation):
    for role, seed in (("champion", 1), ("canary", 2)):
        spec = installation.spec.model_copy(update={"name": OTHER})
        made = make_model(installation.objects, spec, seed)
        installation.servers.deploy(role, OTHER, seed, made.key, made.digest)
        wait_until(lambda role=role: installation.router.counters(OTHER)[role].up, f"HAProxy finds the {role} up")
    installation.router.shift(OTHER, 25)
    url = f"{installation.settings.endpoint}/models/{OTHER}/invocations"
    with httpx.Client() as client:

        def version(passenger: int) -> int:
            headers = {STICKY: f"passenger-{passenger}"}
            answer = client.post(url, json=split({**KEYS, **ROW}), headers=headers)
            return answer.raise_for_status().json()["model_version"]

        first = [version(passenger) for passenger in range(300)]
        assert [version(passenger) for passenger in range(300)] == first
        assert 0.15 < first.count(2) / 300 < 0.35
        installation.router.shift(OTHER, 50)
        later = [version(passenger) for passenger in range(300)]
    assert 0.4 < later.count(2) / 300 < 0.6
    back = sum(before == 2 and after == 1 for before, after in zip(first, later, strict=True))
    assert back < 0.1 * first.count(2), "whoever saw the canary keeps it as its share grows"


def test_no_client_can_pass_a_request_off_as_a_copy(installation):
    asked = {"json": split({**KEYS, **ROW}), "headers": {"x-kilter-copy": "1"}}
    path = f"models/{MODEL}/invocations"
    before = installation.servers.answers("champion", MODEL).requests
    assert "x-kilter-score" not in httpx.post(f"{installation.settings.endpoint}/{path}", **asked).headers
    assert "x-kilter-score" in httpx.post(f"{installation.url('champion')}/{path}", **asked).headers
    assert installation.servers.answers("champion", MODEL).requests == before + 1
