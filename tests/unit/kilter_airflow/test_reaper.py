"""Which containers nobody waits for any more."""

from collections.abc import Mapping

import pytest

from kilter_airflow.reaper import is_orphan

STEP = {"kilter.dag_id": "m.train", "kilter.run_id": "r", "kilter.task_id": "train", "kilter.map_index": "-1"}
MAPPED = {**STEP, "kilter.task_id": "check", "kilter.map_index": "2"}
SERVER = {**STEP, "kilter.task_id": "start_server", "kilter.server": "m"}


def orphan(labels: Mapping[str, str], **states: str | None) -> bool:
    return is_orphan(labels, lambda dag_id, run_id: states)


@pytest.mark.parametrize("state", ["running", "queued", "scheduled", "up_for_retry", "restarting", "deferred", None])
def test_a_container_whose_task_may_still_come_back_stays(state: str | None) -> None:
    assert not orphan(STEP, train=state)


@pytest.mark.parametrize("state", ["success", "failed", "skipped", "upstream_failed", "removed"])
def test_a_container_whose_task_is_over_goes(state: str) -> None:
    assert orphan(STEP, train=state)


def test_a_container_of_an_unknown_task_or_run_goes() -> None:
    assert orphan(STEP)
    assert orphan(STEP, other="running")


def test_a_mapped_task_is_told_apart_by_its_index() -> None:
    assert not orphan(MAPPED, check_1="success", check_2="running")
    assert orphan(MAPPED, check_1="running", check_2="success")


def test_a_trial_server_outlives_its_task_but_not_its_run() -> None:
    assert not orphan(SERVER, start_server="success", check="running")
    assert orphan(SERVER, start_server="success", check="failed", stop_server="failed")
