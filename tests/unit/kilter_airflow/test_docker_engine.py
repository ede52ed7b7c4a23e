"""What an engine's refusals mean; with a client that refuses as engines do."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError, DockerException
from requests.exceptions import ReadTimeout

from kilter.errors import DeviceError, InputError, UnavailableError
from kilter_airflow.gpus import GpuLender
from kilter_airflow.runtimes.docker import Engine
from kilter_airflow.settings import RuntimeSettings

NO_GPU = (
    'could not select device driver "" with capabilities: [[gpu compute utility]]',
    "failed to discover GPU vendor from CDI: no known GPU vendor found",
    "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1",
)
UNKNOWN = "nvidia-container-cli: device error: GPU-typo: unknown device"


class Refusing:
    """A client whose engine refuses whatever is asked."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: Any, **__: Any) -> None:
            raise self._error

        return refuse


def refusing(explanation: str) -> Engine:
    return Engine(Refusing(APIError("500 Server Error", explanation=explanation)))


@pytest.mark.parametrize("explanation", NO_GPU)
def test_an_engine_without_gpus_is_told_from_other_faults(explanation: str) -> None:
    with pytest.raises(DeviceError, match="this Docker engine has none: run it where there is one"):
        refusing(explanation).start("c")


def test_a_gpu_that_the_engine_does_not_know_is_a_wrong_name_and_no_lack_of_gpus() -> None:
    with pytest.raises(InputError, match=f"{UNKNOWN}: unknown: correct KILTER_GPUS") as caught:
        refusing(f"failed to create task for container: {UNKNOWN}: unknown").start("c")
    assert not isinstance(caught.value, DeviceError)


def test_another_refusal_is_the_engines_own_error() -> None:
    with pytest.raises(APIError, match="no space left"):
        refusing("no space left on device").start("c")


@pytest.mark.parametrize("error", [DockerException("gone"), APIError("500"), ReadTimeout("slow")])
def test_an_engine_that_does_not_answer_is_unavailable(error: Exception) -> None:
    engine = Engine(Refusing(error))
    with pytest.raises(UnavailableError, match=f"this Docker engine does not answer: {error}"):
        engine.find({"a": "b"})
    with pytest.raises(UnavailableError, match="does not answer"):
        engine.identity()


def test_an_engine_that_is_away_at_the_end_does_not_fail_a_step_that_ended_well(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = RuntimeSettings.from_environment({"KILTER_HOME": str(tmp_path)})
    lender = GpuLender(Engine(Refusing(ReadTimeout("slow"))), settings, logging.getLogger("test"))
    with lender.renewed("a"):
        pass
    assert "not given back, their lease expires" in caplog.text
    assert "not renewed, tried again soon" in caplog.text
