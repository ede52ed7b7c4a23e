"""Devices: which ones are here, which kind a step runs on, and what it took of them."""

from __future__ import annotations

import logging
import os
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from kilter.errors import DeviceError, UnavailableError

if TYPE_CHECKING:
    from kilter.spec import ModelSpec

Kind = Literal["cpu", "cuda"]
Made = TypeVar("Made")
READING_SECONDS = 1.0
"""Between two readings of the memory taken on GPUs."""
_PATIENCE = 30
"""Seconds that nvidia-smi gets: where no daemon keeps the driver awake, it wakes it."""
_NO_GPU = ("No devices were found", "couldn't communicate with the NVIDIA driver")
"""What nvidia-smi says where there is no GPU, or no driver for one."""


@dataclass(frozen=True)
class Gpu:
    """A GPU as nvidia-smi names it; the UUID stays with the card, the index is its place in the list."""

    index: str
    uuid: str
    name: str
    driver: str


class DeviceUse(BaseModel):
    """What a training ran on and took; goes to the lineage, not into the model, as no two trainings take the same.

    Args:
        names: the processor's model, or the name of each GPU.
        driver: version of the NVIDIA driver; empty on the CPU.
        peak_memory_mib: of the largest process (CPU), or taken on all GPUs at once, read once a second; None where
            the driver does not tell.
        seconds: of the training alone, without reading its rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    names: tuple[str, ...]
    driver: str = ""
    peak_memory_mib: int | None
    seconds: float

    def tags(self) -> dict[str, str]:
        """As tags of a version's lineage."""
        peak = "" if self.peak_memory_mib is None else str(self.peak_memory_mib)
        return {
            "device": self.kind,
            "device_names": ", ".join(self.names),
            "device_driver": self.driver,
            "device_peak_memory_mib": peak,
            "device_seconds": f"{self.seconds:.1f}",
        }


def visible_gpus() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs that this process may use; none where nvidia-smi is missing or finds no driver.

    CUDA's own variable CUDA_VISIBLE_DEVICES hides those that it does not name; set and empty, it hides all.

    Raises:
        UnavailableError: nvidia-smi fails, so that nobody knows.
    """
    found = tuple(Gpu(*row) for row in _nvidia_smi("index,uuid,name,driver_version"))
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return found if named is None else tuple(gpu for gpu in found if {gpu.index, gpu.uuid} & set(named.split(",")))


def choose_device(spec: ModelSpec, gpu_step: bool, log: logging.Logger) -> Kind:
    """`cuda` for a GPU step of a model that asks for GPUs; with `fallback: cpu` the log says what was missing for it.

    Raises:
        DeviceError: a GPU was asked for, none is here or the trainer's library was built without CUDA, and the spec has
            no `fallback: cpu`.
        UnavailableError: nvidia-smi fails.
    """
    if not (gpu_step and spec.resources.gpu):
        return "cpu"
    lack = _lack(spec)
    if not lack:
        return "cuda"
    asked = f"model '{spec.name}' asks for {spec.resources.gpu} GPU(s) (resources.gpu)"
    if spec.resources.fallback != "cpu":
        raise DeviceError(f"{asked} and {lack}, or set resources.fallback: cpu")
    log.warning("%s and %s; it runs on the CPU (resources.fallback: cpu)", asked, lack)
    return "cpu"


def _lack(spec: ModelSpec) -> str:
    """What is missing for CUDA, and its cure; empty when nothing is."""
    if not visible_gpus():
        return "this machine has no CUDA device: run it where there is one"
    if not built_for_cuda(spec.training.trainer):
        return (
            f"its trainer {spec.training.trainer} is built without CUDA here, beside a GPU: run steps in the image's "
            "cuda variant (docker/build --variant cuda step, KILTER_STEP_IMAGE=kilter-step:latest-cuda)"
        )
    return ""


def built_for_cuda(trainer: str) -> bool:
    """Whether the library behind a trainer can use a GPU at all."""
    if trainer == "torch":
        import torch

        return torch.version.cuda is not None
    import xgboost

    return bool(xgboost.build_info()["USE_CUDA"])


def measured(kind: Kind, work: Callable[[], Made]) -> tuple[Made, DeviceUse]:
    """Do the work on a device and tell what it took; what it raises is passed on."""
    started = time.monotonic()
    if kind == "cpu":
        made = work()
        seconds = time.monotonic() - started
        return made, DeviceUse(kind=kind, names=(_processor(),), peak_memory_mib=_peak_resident_mib(), seconds=seconds)
    gpus = visible_gpus()
    with _memory_watched(gpus) as readings:
        made = work()
        seconds = time.monotonic() - started
    return made, DeviceUse(
        kind=kind,
        names=tuple(gpu.name for gpu in gpus),
        driver=gpus[0].driver,
        peak_memory_mib=max(readings, default=None),
        seconds=seconds,
    )


@contextmanager
def _memory_watched(gpus: tuple[Gpu, ...]) -> Iterator[list[int]]:
    """Readings of the MiB taken on these GPUs: one at the start, one a second, one at the end.

    The GPUs are leased to this step alone, so that all that is taken is its own, in all of its processes and whichever
    library takes it.
    """
    readings: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            readings.extend(_memory_taken(gpus))
            ended.wait(READING_SECONDS)
        readings.extend(_memory_taken(gpus))

    thread = threading.Thread(target=watch, name="gpu-memory", daemon=True)
    thread.start()
    try:
        yield readings
    finally:
        ended.set()
        thread.join()


def _memory_taken(gpus: tuple[Gpu, ...]) -> list[int]:
    """MiB taken on these GPUs together, as the only item; no item where the driver does not tell."""
    uuids = {gpu.uuid for gpu in gpus}
    try:
        taken = [used for uuid, used in _nvidia_smi("uuid,memory.used") if uuid in uuids]
    except UnavailableError:
        return []
    return [sum(map(int, taken))] if taken and all(used.isdigit() for used in taken) else []


def _nvidia_smi(fields: str) -> list[list[str]]:
    """One row of these fields for each GPU; no row where there is no GPU, driver or nvidia-smi.

    Raises:
        UnavailableError: it does not answer in time, or fails for another reason.
    """
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE)
    except FileNotFoundError:
        return []
    except subprocess.TimeoutExpired:
        raise _unknown(f"no answer within {_PATIENCE} s") from None
    words = told.stdout + told.stderr
    if any(sign in words for sign in _NO_GPU):
        return []
    if told.returncode != 0:
        raise _unknown(f"exit code {told.returncode}: {words.strip()}")
    return [line.split(", ") for line in told.stdout.splitlines()]


def _unknown(why: str) -> UnavailableError:
    return UnavailableError(f"nvidia-smi does not tell which GPUs are here: {why}: repair the NVIDIA driver")


def _processor() -> str:
    """The processor's model, as Linux names it; its architecture where Linux names none, as on ARM."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, os.uname().machine)


def _peak_resident_mib() -> int:
    """The largest resident memory that this process, or one that it started, had so far."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) // 1024
