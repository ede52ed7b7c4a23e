"""The gate's checks of a server, on real servers: a good one, and one for each fault."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from kilter.core.verdict import Judgement, Verdict
from kilter.stores.features import CREATED

from .candidate import END, Candidate
from .conftest import free_ports


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """A candidate whose features are online."""
    made = Candidate(tmp_path_factory.mktemp("candidate"))
    made.put_online()
    return made


@pytest.fixture(scope="module")
def good(online: Candidate) -> Iterator[str]:
    with online.server() as url:
        yield url


def figure(judgement: Judgement, label: str) -> Any:
    """The measured number of that label."""
    return next(item for item in judgement.measured if item.label == label)


def test_a_good_server_is_fit(online: Candidate, good: str) -> None:
    judged = online.check("serving_fitness", good)
    assert judged.verdict is Verdict.PASSED, judged.reason
    assert judged.figures["answered"] == 400
    assert 0 < figure(judged, "ready after").value < 60
    assert 50 < figure(judged, "peak memory").value < 512
    assert len(judged.figures["malformed"]) >= 10
    assert set(judged.figures["malformed"].values()) == {400}


def test_a_good_server_agrees_with_training_code_and_online_store(online: Candidate, good: str) -> None:
    judged = online.check("prediction_parity", good)
    assert judged.verdict is Verdict.PASSED, judged.reason
    assert (judged.figures["online"]["rows"], judged.figures["served"]["rows"]) == (200, 200)
    assert judged.figures["online"]["newer"] == 0


def test_50_ms_a_prediction_fail_for_their_p99(online: Candidate) -> None:
    with online.server("slow") as url, online.wanting(rate=60):
        judged = online.check("serving_fitness", url)
    assert judged.verdict is Verdict.FAILED
    # 20 of the 60 requests a second are answered, so that the last ones wait for seconds: a client that waited
    # for each answer would have seen 50 ms.
    assert figure(judged, "p99").value > 1500
    assert judged.reason.startswith("p99")


def test_features_in_another_order_are_found_also_when_nothing_is_online(tmp_path: Path) -> None:
    candidate = Candidate(tmp_path)
    with candidate.server("reordered") as url:
        judged = candidate.check("prediction_parity", url)
    assert judged.verdict is Verdict.FAILED
    assert "no features are online yet" in judged.reason
    assert "first difference served: flight-" in judged.reason


def test_features_in_another_order_at_serving_fail_and_are_named(online: Candidate) -> None:
    with online.server("reordered") as url:
        judged = online.check("prediction_parity", url)
    assert judged.verdict is Verdict.FAILED
    assert "first difference served: flight-" in judged.reason
    first, second = online.spec.features.names[:2]
    assert f"the server handles {first} and {second} otherwise" in judged.reason


@pytest.mark.parametrize(("fault", "cause"), [("beyond_one", "not in [0, 1]"), ("too_few", "got 1 of them for 100")])
def test_answers_that_are_not_as_declared_fail_and_are_told(online: Candidate, fault: str, cause: str) -> None:
    with online.server(fault) as url:
        judged = online.check("serving_fitness", url)
    assert judged.verdict is Verdict.FAILED
    assert cause in judged.reason


def test_a_server_that_dies_under_load_fails_and_says_when(online: Candidate) -> None:
    with online.server("mortal") as url:
        judged = online.check("serving_fitness", url)
    assert judged.verdict is Verdict.FAILED
    assert "ended while it was sent 200 requests/s, under a memory limit of 512m" in judged.reason


def test_nobody_there_is_unfit_and_no_parity_can_be_measured(online: Candidate) -> None:
    (port,) = free_ports(1)
    with online.wanting(ready_within=timedelta(milliseconds=300)):
        unfit = online.check("serving_fitness", f"http://127.0.0.1:{port}")
        unknown = online.check("prediction_parity", f"http://127.0.0.1:{port}")
    assert unfit.verdict is Verdict.FAILED
    assert "not ready within 0.3 s: nobody listens at its address" in unfit.reason
    assert unknown.verdict is Verdict.ERROR
    assert "could not be asked (not ready" in unknown.reason


def test_without_anything_online_parity_is_inconclusive_and_names_the_cure(tmp_path: Path) -> None:
    candidate = Candidate(tmp_path)
    with candidate.server() as url:
        judged = candidate.check("prediction_parity", url)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "run feature_ingestion" in judged.reason


def test_a_value_that_differs_online_fails_and_is_shown(tmp_path: Path) -> None:
    candidate = Candidate(tmp_path)
    candidate.put_online()
    candidate.spoil_online(lambda frame: frame.assign(humidity=frame.humidity.fillna(0) + 1))
    with candidate.server() as url:
        judged = candidate.check("prediction_parity", url)
    assert judged.verdict is Verdict.FAILED
    first = judged.figures["online"]["first"]
    assert first["column"] == "humidity"
    assert first["online"] == pytest.approx((first["offline"] or 0) + 1)
    assert f"humidity is {first['online']!r}, offline {first['offline']!r}" in judged.reason
    assert figure(judged, "rows that differ online").value == 200


def test_entities_that_moved_on_online_are_left_out_and_counted(tmp_path: Path) -> None:
    candidate = Candidate(tmp_path)
    candidate.put_online()

    def move_on(frame: pd.DataFrame) -> pd.DataFrame:
        later = frame.index % 2 == 0
        times = frame[candidate.spec.timestamp]
        moved = times.where(~later, END - timedelta(seconds=1))
        return frame.assign(
            **{candidate.spec.timestamp: moved, CREATED: moved}, wind_speed=frame.wind_speed.mask(later, 9.0)
        )

    candidate.spoil_online(move_on)
    with candidate.server() as url:
        judged = candidate.check("prediction_parity", url)
    assert judged.verdict is Verdict.PASSED, judged.reason
    assert 50 < judged.figures["online"]["newer"] < 150


LOOKS_UP = "serving: {request: [hour, weekday, origin, carrier, distance], timeout: 5s}"


def test_a_server_that_looks_features_up_is_sent_rows_without_them(tmp_path: Path) -> None:
    candidate = Candidate(tmp_path, serving=LOOKS_UP)
    candidate.put_online()
    with candidate.server() as url:
        judged = candidate.check("prediction_parity", url)
        looked_up = re.search(r'kilter_lookups_total{.*outcome="found".*} (\d+)', httpx.get(f"{url}/metrics").text)
    assert judged.verdict is Verdict.PASSED, judged.reason
    assert looked_up is not None
    assert looked_up[1] == "200"


def test_what_a_server_looks_up_is_blamed_where_it_is_right_once_sent_it(tmp_path: Path) -> None:
    candidate = Candidate(tmp_path, serving=LOOKS_UP)
    candidate.put_online()
    candidate.spoil_online(lambda frame: frame.assign(humidity=frame.humidity.fillna(0) + 1))
    with candidate.server() as url:
        judged = candidate.check("prediction_parity", url)
    assert judged.verdict is Verdict.FAILED
    assert judged.figures["served"]["features"] == list(candidate.spec.looked_up)
