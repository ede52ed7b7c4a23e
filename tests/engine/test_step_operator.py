"""Steps in real containers under a real Airflow: durable, hardened, memoised, and clear when they cannot run."""

import io
import json
import signal
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest

from kilter.stores.ledger import Ledger
from kilter.stores.objects import commit_dataset
from kilter.stores.parquet import frame_to_parquet
from kilter_airflow import reaper
from kilter_airflow.reaper import ReapOperator
from kilter_airflow.runtimes.docker import Engine

from .live import IMAGE, USER, Live, wait_for

pytestmark = pytest.mark.engine


def snapshot(live: Live, model: str) -> str:
    """Commit a small snapshot to train on; return its key."""
    random = np.random.default_rng(7)

    def part(rows: int) -> bytes:
        size = random.normal(size=rows)
        at = pd.date_range("2001-01-01", periods=rows, freq="min", tz="UTC")
        late = (size + random.normal(size=rows) > 0).astype("int8")
        return frame_to_parquet(
            pd.DataFrame({"id": [f"i{i}" for i in range(rows)], "at": at, "size": size, "late": late})
        )

    files = {f"{name}.parquet": part(rows) for name, rows in (("train", 400), ("validation", 200), ("test", 200))}
    manifest = commit_dataset(
        live.objects, f"snapshots/{model}", files, {"as_of": "2002-01-01T00:00:00+00:00", "rows": {}}
    )
    return manifest.key


# durable


@pytest.mark.parametrize("killed", ["task", "worker"])
def test_a_retry_takes_over_the_container_of_a_task_that_was_killed(live: Live, killed: str) -> None:
    year = 2031 if killed == "task" else 2032
    run = live.extract("waiting", year)
    container = live.running("waiting.extract", run, year)
    task = psutil.Process(live.task("waiting.extract", run)["pid"])
    for process in [task.parent(), task] if killed == "worker" else [task]:
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: "re-attached" in live.log("waiting.extract", run), "the retry to take over")
    assert [found.id for found in live.containers(run)] == [container.id]
    live.go(year)
    live.wait_for_task("waiting.extract", run, "success")
    assert live.begun(year) == 1
    before, _, after = live.log("waiting.extract", run).partition(
        f"re-attached to container {container.id[:12]}, running"
    )
    assert "step extract of waiting starts" in before
    assert "step extract of waiting starts" in after, "the retry shows the container's log from its start"
    assert live.containers(run) == []


def test_a_retry_takes_the_result_of_a_container_that_ended_while_nobody_watched(live: Live) -> None:
    run = live.extract("waiting", 2033)
    container = live.running("waiting.extract", run, 2033)
    worker = psutil.Process(live.task("waiting.extract", run)["pid"]).parent()
    task = psutil.Process(live.task("waiting.extract", run)["pid"])
    for process in (worker, task):
        process.send_signal(signal.SIGKILL)
    live.go(2033)
    assert container.wait()["StatusCode"] == 0
    live.wait_for_task("waiting.extract", run, "success")
    assert f"re-attached to container {container.id[:12]}, exited" in live.log("waiting.extract", run)
    assert live.begun(2033) == 1
    assert live.containers(run) == []


def test_a_task_that_is_marked_failed_leaves_no_container(live: Live) -> None:
    run = live.extract("waiting", 2041)
    live.running("waiting.extract", run, 2041)
    live.mark_failed("waiting.extract", run)
    wait_for(lambda: live.containers(run) == [], "the container to be removed")


def test_a_task_that_is_cleared_removes_its_container_and_starts_another(live: Live) -> None:
    run = live.extract("waiting", 2042)
    first = live.running("waiting.extract", run, 2042)
    live.clear("waiting.extract", run)
    wait_for(lambda: live.begun(2042) == 2, "the second run of the source")
    (second,) = live.containers(run)
    assert second.id != first.id
    live.go(2042)
    live.wait_for_task("waiting.extract", run, "success")
    assert live.containers(run) == []


def test_a_step_over_its_time_limit_is_stopped_and_removed(live: Live) -> None:
    run = live.extract("hasty", 2043)
    live.running("hasty.extract", run, 2043)
    live.wait_for_task("hasty.extract", run, "up_for_retry", "failed")
    live.mark_failed("hasty.extract", run)
    wait_for(lambda: live.containers(run) == [], "the containers to be removed")
    assert "Timeout, PID" in live.log("hasty.extract", run)


# hardened


def test_a_container_has_only_what_its_step_needs(live: Live) -> None:
    run = live.extract("waiting", 2051)
    facts = live.running("waiting.extract", run, 2051).attrs
    live.go(2051)
    host = facts["HostConfig"]
    assert facts["Config"]["User"] == USER
    assert facts["Config"]["Image"] == live.engine.images.get(IMAGE).id
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Privileged"] is False
    assert host["NetworkMode"] == "none"
    assert (host["CpuQuota"], host["CpuPeriod"]) == (100_000, 100_000)
    assert (host["Memory"], host["MemorySwap"]) == (2**30, 2**30)
    assert host["PidsLimit"] == 128
    assert [mount["Source"] for mount in facts["Mounts"]] == [str(live.home / "store")]
    live.wait_for_task("waiting.extract", run, "success")


def test_from_inside_a_step_sees_no_root_no_capability_no_network_and_no_secret(live: Live) -> None:
    live.go(2052)
    run = live.extract("waiting", 2052)
    live.wait_for_task("waiting.extract", run, "success")
    batch = live.airflow.output("waiting.extract", run, "extract")["batch"]
    table = pq.read_table(io.BytesIO(live.objects.get(f"{batch}/facts.parquet")))
    facts: dict[str, Any] = json.loads(table["facts"][0].as_py())
    assert f"{facts['uid']}:{facts['gid']}" == USER
    assert int(facts["capabilities"], 16) == 0
    assert int(facts["bounding"], 16) == 0
    assert facts["no_new_privileges"] == "1"
    assert facts["writable"] == ["/tmp"]
    assert facts["interfaces"] == ["lo"]
    assert facts["secrets"] == []


def test_a_step_over_its_memory_limit_fails_at_once_and_says_so(live: Live) -> None:
    run = live.extract("small", 2053)
    live.wait_for_task("small.extract", run, "failed")
    assert live.log("small.extract", run).count("went over its memory limit of 100m: raise resources.memory") == 1
    assert live.containers(run) == []


# memoised


def test_an_equal_result_is_reused_and_the_log_says_so_unless_told_otherwise(live: Live) -> None:
    key = snapshot(live, "waiting")
    runs = [live.trigger("waiting.train", snapshot=key)]
    live.wait_for_task("waiting.train", runs[0], "success")
    runs += [live.trigger("waiting.train", snapshot=key), live.trigger("waiting.train", snapshot=key, no_cache=True)]
    for run in runs[1:]:
        live.wait_for_task("waiting.train", run, "success")
    outputs = [live.airflow.output("waiting.train", run, "train") for run in runs]
    assert outputs[1] == outputs[0]
    assert outputs[2]["digest"] == outputs[0]["digest"], "trained again: equal, but for how long it took"
    assert f"step 'train' is not run: file://{live.home}/store/results/waiting/train/" in live.log(
        "waiting.train", runs[1]
    )
    assert f"from run {runs[0]} of waiting.train" in live.log("waiting.train", runs[1])
    assert "step train of waiting starts" not in live.log("waiting.train", runs[1])
    assert "step train of waiting starts" in live.log("waiting.train", runs[2])


# clear


def test_wrong_input_fails_at_once_without_a_retry(live: Live) -> None:
    run = live.trigger("waiting.extract", start="2061-01-01T00:00:00Z", end="2060-01-01T00:00:00Z")
    live.wait_for_task("waiting.extract", run, "failed")
    log = live.log("waiting.extract", run)
    assert log.count("wrong input, which no retry cures: InputError: extract: end") == 1
    assert live.containers(run) == []


def test_a_gpu_that_is_asked_for_and_absent_is_a_clear_failure(live: Live) -> None:
    run = live.trigger("wants_gpu.train", snapshot=snapshot(live, "wants_gpu"))
    task = live.wait_for_task("wants_gpu.train", run, "failed")
    assert task["pool"] == "gpu"
    sentence = (
        "step 'train' of 'wants_gpu': a GPU was asked for (resources.gpu in model.yaml) and this Docker engine has none"
    )
    assert live.log("wants_gpu.train", run).count(sentence) == 1
    assert live.containers(run) == []


def test_a_gpu_that_is_asked_for_and_absent_is_replaced_where_the_model_allows_it(live: Live) -> None:
    run = live.trigger("wants_gpu_or_cpu.train", snapshot=snapshot(live, "wants_gpu_or_cpu"))
    live.wait_for_task("wants_gpu_or_cpu.train", run, "success")
    log = live.log("wants_gpu_or_cpu.train", run)
    assert "no GPU on this engine: the step runs on the CPU (resources.fallback: cpu)" in log
    assert "starts on cpu" in log


# around steps


def test_the_drift_sensor_outlives_a_killed_triggerer_and_is_skipped_when_time_is_up(live: Live) -> None:
    run = live.trigger("waiting.response")
    live.wait_for_task("waiting.response", run, "deferred", task_id="drift_report")
    for process in live.processes("airflow triggerer"):
        process.send_signal(signal.SIGKILL)
    live.start_triggerer()
    ledger = Ledger(f"sqlite:///{live.home}/state/ledger.db")
    window = {"window_start": pd.Timestamp("2001-01-01", tz="UTC"), "window_end": pd.Timestamp("2002-01-01", tz="UTC")}
    ledger.record_report(model="waiting", key="reports/waiting/1", summary={}, **window)
    live.wait_for_task("waiting.response", run, "success", task_id="drift_report")
    assert live.airflow.output("waiting.response", run, "drift_report") == "reports/waiting/1"
    live.wait_for_task("waiting.response", run, "skipped", task_id="hurried")


def test_the_reaper_leaves_containers_whose_task_runs(live: Live) -> None:
    run = live.extract("waiting", 2071)
    container = live.running("waiting.extract", run, 2071)
    reaping = live.trigger("tests.reaper")
    live.wait_for_task("tests.reaper", reaping, "success", task_id="reap")
    container.reload()
    assert container.status == "running"
    live.go(2071)
    live.wait_for_task("waiting.extract", run, "success")


def test_the_reaper_removes_containers_whose_task_is_over(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "YOUNG_SECONDS", -60)
    labels = {"kilter.dag_id": "d", "kilter.run_id": "gone", "kilter.task_id": "t", "kilter.map_index": "-1"}
    mine, other = (
        live.engine.containers.run(
            IMAGE, ["60"], entrypoint="sleep", detach=True, labels={**labels, "kilter.home": str(live.home / part)}
        )
        for part in ("this", "other")
    )
    removed = ReapOperator(task_id="reap")._reap(Engine(live.engine.api), live.home / "this", lambda dag, run: {})
    assert removed == 1
    assert mine.id not in [container.id for container in live.engine.containers.list(all=True)]
    other.remove(force=True)
