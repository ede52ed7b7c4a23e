"""Which device a step runs on, and what it took: with an nvidia-smi that answers what a test says."""

import logging
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kilter import devices
from kilter.devices import DeviceUse, Gpu, choose_device, measured, visible_gpus
from kilter.errors import DeviceError, UnavailableError
from kilter.spec import ModelSpec

from .parts import spec_of

TWO = "0, GPU-a, NVIDIA H200, 570.1\n1, GPU-b, NVIDIA H200, 570.1\n"
LOG = logging.getLogger("test")


class Machine:
    """A folder first on the PATH with an nvidia-smi that prints what lies there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, gpus: str, code: int = 0) -> None:
        """Let nvidia-smi show these GPUs, none of whose memory is taken."""
        (self.folder / "gpus").write_text(gpus)
        self.taken("GPU-a, 0\nGPU-b, 0\n")
        script = self.folder / "nvidia-smi"
        script.write_text(
            f'#!/bin/sh\ncd "{self.folder}"\n'
            f'case "$1" in --query-gpu=uuid,memory.used) echo >> read; cat memory;; *) cat gpus;; esac\nexit {code}\n'
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)

    def taken(self, memory: str) -> None:
        """Let nvidia-smi show this memory."""
        (self.folder / "new").write_text(memory)
        (self.folder / "new").rename(self.folder / "memory")

    def readings(self) -> int:
        """How often the memory was read."""
        return len((self.folder / "read").read_text()) if (self.folder / "read").exists() else 0


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return Machine(tmp_path)


def asking(trainer: str = "xgboost", **resources: object) -> ModelSpec:
    spec = spec_of("binary")
    return spec.model_copy(
        update={
            "resources": spec.resources.model_copy(update={"gpu": 1, **resources}),
            "training": spec.training.model_copy(update={"trainer": trainer}),
        }
    )


@pytest.fixture
def cuda_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xgboost.build_info", lambda: {"USE_CUDA": True})


def test_gpus_are_those_that_nvidia_smi_lists(machine: Machine) -> None:
    machine.has(TWO)
    assert visible_gpus() == (
        Gpu("0", "GPU-a", "NVIDIA H200", "570.1"),
        Gpu("1", "GPU-b", "NVIDIA H200", "570.1"),
    )


@pytest.mark.parametrize(
    ("named", "seen"), [("1", ["GPU-b"]), ("GPU-a", ["GPU-a"]), ("", []), ("1,0", ["GPU-a", "GPU-b"])]
)
def test_cudas_own_variable_hides_gpus(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, named: str, seen: list[str]
) -> None:
    machine.has(TWO)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert [gpu.uuid for gpu in visible_gpus()] == seen


def test_a_driver_that_does_not_answer_and_a_missing_nvidia_smi_are_no_gpu(machine: Machine) -> None:
    assert visible_gpus() == ()
    machine.has("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", code=9)
    assert visible_gpus() == ()


@pytest.mark.parametrize("code", [0, 6])
def test_a_driver_without_devices_is_no_gpu(machine: Machine, code: int) -> None:
    machine.has("No devices were found\n", code=code)
    assert visible_gpus() == ()


def test_an_nvidia_smi_that_fails_otherwise_is_not_taken_for_no_gpu(machine: Machine) -> None:
    machine.has("Failed to initialize NVML: Driver/library version mismatch\n", code=18)
    words = (
        "nvidia-smi does not tell .*exit code 18: Failed to initialize NVML: Driver/library version mismatch: repair"
    )
    with pytest.raises(UnavailableError, match=words):
        choose_device(asking(fallback="cpu"), True, LOG)


def test_an_nvidia_smi_that_hangs_is_not_taken_for_no_gpu(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_PATIENCE", 0.05)
    script = machine.folder / "nvidia-smi"
    script.write_text("#!/bin/sh\nexec sleep 30\n")
    script.chmod(0o755)
    with pytest.raises(UnavailableError, match=r"no answer within 0\.05 s"):
        visible_gpus()


def test_a_step_that_asks_for_no_gpu_runs_on_the_cpu_beside_gpus(machine: Machine, cuda_built: None) -> None:
    machine.has(TWO)
    assert choose_device(asking(gpu=0), True, LOG) == "cpu"
    assert choose_device(asking(), False, LOG) == "cpu"
    assert choose_device(asking(), True, LOG) == "cuda"


def test_cuda_that_is_asked_for_and_absent_is_refused_with_the_cure(machine: Machine) -> None:
    with pytest.raises(
        DeviceError, match=r"model 'parts' asks for 1 GPU.*no CUDA device: run it where .*fallback: cpu"
    ):
        choose_device(asking(), True, LOG)


@pytest.mark.parametrize("trainer", ["xgboost", "torch"])
def test_a_cpu_image_beside_a_gpu_is_refused_and_the_right_one_named(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, trainer: str
) -> None:
    monkeypatch.setattr("xgboost.build_info", lambda: {"USE_CUDA": False})
    monkeypatch.setattr("torch.version.cuda", None)
    machine.has(TWO)
    with pytest.raises(DeviceError, match=rf"trainer {trainer} is built without CUDA.*kilter-step:latest-cuda"):
        choose_device(asking(trainer), True, LOG)


def test_a_fallback_says_what_was_missing(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    assert choose_device(asking(fallback="cpu"), True, LOG) == "cpu"
    assert "has no CUDA device" in caplog.text
    assert "runs on the CPU (resources.fallback: cpu)" in caplog.text


def test_work_on_the_cpu_is_told_with_the_processor_and_memory() -> None:
    held: list[bytearray] = []
    made, use = measured("cpu", lambda: held.append(bytearray(b"x" * 2**26)) or len(held))
    assert made == 1
    assert (use.kind, use.driver) == ("cpu", "")
    assert use.names[0]
    assert use.peak_memory_mib is not None
    assert use.peak_memory_mib > 64


def wait_until(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_peak_on_gpus_is_the_most_taken_at_once_on_all_of_them(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.has(TWO)
    monkeypatch.setattr(devices, "READING_SECONDS", 0.01)

    def work() -> str:
        for memory in ("GPU-a, 700\nGPU-b, 200\n", "GPU-a, 100\nGPU-b, 300\n"):
            machine.taken(memory)
            before = machine.readings()
            wait_until(lambda before=before: machine.readings() >= before + 2)  # type: ignore[misc]
        return "made"

    made, use = measured("cuda", work)
    assert made == "made"
    assert use.peak_memory_mib == 900
    assert (use.kind, use.names, use.driver) == ("cuda", ("NVIDIA H200", "NVIDIA H200"), "570.1")


def test_memory_that_the_driver_does_not_tell_is_no_number(machine: Machine) -> None:
    machine.has("0, GPU-a, GB10, 580.1\n")
    machine.taken("GPU-a, [N/A]\n")
    _, use = measured("cuda", lambda: None)
    assert use.peak_memory_mib is None
    assert use.tags()["device_peak_memory_mib"] == ""


def test_a_driver_that_fails_during_the_work_fails_neither_it_nor_the_readings_after(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.has(TWO)
    monkeypatch.setattr(devices, "READING_SECONDS", 0.01)

    def work() -> str:
        for code in (18, 0):
            machine.has(TWO, code)
            machine.taken("GPU-a, 700\nGPU-b, 200\n")
            before = machine.readings()
            wait_until(lambda before=before: machine.readings() >= before + 2)  # type: ignore[misc]
        return "made"

    made, use = measured("cuda", work)
    assert made == "made"
    assert use.peak_memory_mib == 900


def test_what_work_raises_is_passed_on_and_the_reading_ends(machine: Machine) -> None:
    machine.has(TWO)

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measured("cuda", fail)


def test_the_lineage_gets_it_as_words() -> None:
    use = DeviceUse(kind="cuda", names=("A", "B"), driver="570.1", peak_memory_mib=900, seconds=1.26)
    assert use.tags() == {
        "device": "cuda",
        "device_names": "A, B",
        "device_driver": "570.1",
        "device_peak_memory_mib": "900",
        "device_seconds": "1.3",
    }
