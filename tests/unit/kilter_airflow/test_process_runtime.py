"""The `process` runtime: real child processes."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from kilter.spec import load_spec
from kilter.step import RunInfo, code_digest, load_step, parse_inputs, read_result
from kilter.stores.objects import FileObjects
from kilter_airflow.access import access_of
from kilter_airflow.job import StepJob
from kilter_airflow.runtimes.process import ProcessRuntime
from kilter_airflow.settings import RuntimeSettings

MODELS = Path(__file__).parents[2] / "models"


def extract(home: Path, year: int) -> StepJob:
    """Extract a year of the waiting model; it waits for ever from 2010 on."""
    spec, info = load_spec(MODELS / "waiting"), load_step("extract").STEP
    settings = RuntimeSettings.from_environment({"KILTER_HOME": str(home)})
    return StepJob(
        step="extract",
        info=info,
        spec=spec,
        inputs=parse_inputs("extract", {"start": f"{year - 1}-01-01T00:00:00Z", "end": f"{year}-01-01T00:00:00Z"}),
        run=RunInfo(run_id="here"),
        code=code_digest(MODELS / "waiting"),
        image="",
        attempt="1",
        map_index=-1,
        access=access_of(info, spec, settings, {}, calls=False),
    )


def wait_until(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def begun(home: Path) -> list[Path]:
    return list((home / "store/begun").glob("*")) if (home / "store/begun").exists() else []


def runtime(log: str = "test") -> ProcessRuntime:
    return ProcessRuntime(RuntimeSettings.from_environment(os.environ), os.environ, logging.getLogger(log))


def test_a_step_runs_in_a_process_and_commits_its_result(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    job = extract(home, 2001)
    ended = runtime().start(job)
    assert ended.code == 0
    result = read_result(FileObjects(home / "store"), ended.result)
    assert result is not None
    assert result.run.run_id == "here"
    assert sum("without a container" in line for line in caplog.messages) == 1


def test_the_process_gets_no_setting_of_airflow(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    assert not [name for name in runtime()._environment(extract(home, 2001), ()) if name.startswith("AIRFLOW")]


def test_stopping_ends_the_process_and_all_its_children(home: Path) -> None:
    running, ended = runtime(), []
    thread = threading.Thread(target=lambda: ended.append(running.start(extract(home, 2020))))
    thread.start()
    wait_until(lambda: begun(home))
    started = time.monotonic()
    running.stop(grace=3)
    thread.join()
    assert time.monotonic() - started < 5
    assert ended[0].code == 128 + signal.SIGTERM
    family = psutil.Process().children(recursive=True)
    alive = [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert not [child for child in alive if "extract" in " ".join(child.cmdline())]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_a_step_dies_with_a_task_that_is_killed_so_that_no_retry_runs_beside_it(home: Path) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from pathlib import Path\n"
        "from test_process_runtime import extract, runtime\n"
        f"runtime().start(extract(Path({str(home)!r}), 2020))\n"
    )
    here = Path(__file__).parent
    task = subprocess.Popen([sys.executable, "-c", code, str(here), str(here.parents[2] / "plugins")])
    wait_until(lambda: begun(home))
    (step,) = psutil.Process(task.pid).children()
    task.kill()
    task.wait()
    wait_until(lambda: not step.is_running() or step.status() == psutil.STATUS_ZOMBIE)
