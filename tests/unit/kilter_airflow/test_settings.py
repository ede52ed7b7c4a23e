"""Runtime settings come from the environment and refuse what would be unsafe."""

from pathlib import Path

import pytest

from kilter.errors import InputError
from kilter_airflow.settings import RuntimeSettings


def test_containers_are_the_default_and_run_as_a_user_who_is_not_root() -> None:
    settings = RuntimeSettings.from_environment({"KILTER_HOME": "/srv/kilter"})
    assert settings.runtime == "docker"
    assert settings.step_user == "10001:10001"
    assert settings.host_home == Path("/srv/kilter")


@pytest.mark.parametrize("user", ["0:0", "root", "1000", "-1:5"])
def test_steps_never_run_as_root_or_as_a_name(user: str) -> None:
    with pytest.raises(InputError, match="step_user"):
        RuntimeSettings.from_environment({"KILTER_STEP_USER": user})


def test_an_unknown_runtime_is_refused_and_the_allowed_ones_are_named() -> None:
    with pytest.raises(InputError, match="'docker' or 'process'"):
        RuntimeSettings.from_environment({"KILTER_RUNTIME": "podman"})


def test_gpus_are_named_with_commas_between_and_each_once() -> None:
    assert RuntimeSettings.from_environment({"KILTER_GPUS": "0, GPU-4a"}).gpus == ("0", "GPU-4a")
    assert RuntimeSettings.from_environment({"KILTER_GPUS": ""}).gpus == ()
    with pytest.raises(InputError, match="named twice"):
        RuntimeSettings.from_environment({"KILTER_GPUS": "0,0"})
    with pytest.raises(InputError, match="gpus"):
        RuntimeSettings.from_environment({"KILTER_GPUS": "0;1"})
