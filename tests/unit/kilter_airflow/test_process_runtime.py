"""The `process` runtime: real child processes."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from kilter.errors import DeviceError
from kilter.spec import load_spec
from kilter.step import RunInfo, code_digest, load_step, parse_inputs, read_result
from kilter.stores.leases import Leases
from kilter.stores.ledger import Ledger
from kilter.stores.objects import FileObjects
from kilter_airflow.access import access_of
from kilter_airflow.gpus import LEASE
from kilter_airflow.job import StepJob
from kilter_airflow.runtimes.process import Machine, ProcessRuntime
from kilter_airflow.settings import RuntimeSettings

MODELS = Path(__file__).parents[2] / "models"


def extract(home: Path, year: int, models: Path = MODELS) -> StepJob:
    """Extract a year of the waiting model; it waits for ever from 2010 on."""
    spec, info = load_spec(models / "waiting"), load_step("extract").STEP
    settings = RuntimeSettings.from_environment({"KILTER_HOME": str(home)})
    return StepJob(
        step="extract",
        info=info,
        spec=spec,
        inputs=parse_inputs("extract", {"start": f"{year - 1}-01-01T00:00:00Z", "end": f"{year}-01-01T00:00:00Z"}),
        run=RunInfo(run_id="here"),
        code=code_digest(models / "waiting"),
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


# on GPUs that this machine need not have: the waiting source tells neither of them nor of CUDA


@pytest.fixture
def leases(home: Path, monkeypatch: pytest.MonkeyPatch) -> Leases:
    """The leases of this machine's GPUs, of which there is number 0."""
    monkeypatch.setenv("KILTER_GPUS", "0")
    monkeypatch.setenv("KILTER_MODELS", str(home / "models"))
    ledger = Ledger(f"sqlite:///{home}/state/ledger.db")
    ledger.migrate()
    return Leases(ledger, Machine().identity())


def on_gpus(home: Path, year: int, resources: str) -> StepJob:
    """A job whose model asks for GPUs, of a step that uses them."""
    folder = home / "models/waiting"
    shutil.copytree(MODELS / "waiting", folder, dirs_exist_ok=True)
    text = (folder / "model.yaml").read_text().replace("resources: {", f"resources: {{{resources}, ")
    (folder / "model.yaml").write_text(text)
    job = extract(home, year, home / "models")
    return replace(job, info=replace(job.info, gpu=True))


def test_a_step_sees_the_gpu_that_it_leased_alone_and_gives_it_back_when_stopped(home: Path, leases: Leases) -> None:
    running, job = runtime(), on_gpus(home, 2020, "gpu: 1")
    thread = threading.Thread(target=lambda: running.start(job))
    thread.start()
    wait_until(lambda: begun(home))
    assert [(lease["device"], lease["owner"]) for lease in leases.held()] == [("0", job.owner)]
    (step,) = [child for child in psutil.Process().children() if "extract" in child.cmdline()]
    assert step.environ()["CUDA_VISIBLE_DEVICES"] == "0"
    assert Machine().holds(job.owner)
    running.stop(grace=3)
    thread.join()
    assert not Machine().holds(job.owner)
    assert leases.held() == []


def test_a_step_that_must_be_killed_gives_its_gpu_back_though_nobody_follows_it_any_more(
    home: Path, leases: Leases
) -> None:
    running, job = runtime(), on_gpus(home, 2020, "gpu: 1")
    leases.take(["0"], 1, job.owner, LEASE)
    process = running._begin(job, ("0",))
    process.send_signal(signal.SIGSTOP)  # so that it cannot end when asked
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    running.stop(grace=0.1)
    assert process.returncode == -signal.SIGKILL
    assert leases.held() == []


def test_more_gpus_than_the_machine_has_are_refused_in_the_name_of_the_step(home: Path, leases: Leases) -> None:
    with pytest.raises(DeviceError, match=r"step 'extract' of 'waiting': 2 GPUs were asked for .* this machine has 0:"):
        runtime().start(on_gpus(home, 2001, "gpu: 2"))


def test_with_a_fallback_the_step_runs_on_the_cpu_and_sees_no_gpu(
    home: Path, leases: Leases, caplog: pytest.LogCaptureFixture
) -> None:
    job = on_gpus(home, 2001, "gpu: 2, fallback: cpu")
    assert runtime().start(job).code == 0
    assert leases.held() == []
    assert "the step runs on the CPU (resources.fallback: cpu): 2 GPUs were asked for" in caplog.text
    assert runtime()._environment(job, ())["CUDA_VISIBLE_DEVICES"] == ""


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
