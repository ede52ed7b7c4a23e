"""How steps run on this Airflow worker. Read from the environment when a task runs, not when a DAG is parsed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from kilter.errors import InputError
from kilter.settings import PREFIX, Settings


class RuntimeSettings(BaseModel):
    """Where and as whom steps run; field `step_image` is set by `KILTER_STEP_IMAGE`, and so on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stores: Settings
    runtime: Literal["docker", "process"] = "docker"
    step_image: str = "kilter-step:latest"
    serving_image: str = "kilter-serving:latest"
    step_network: str = "host"
    """Docker network of the steps that talk to a store or server; all others get none."""
    step_user: str = Field("10001:10001", pattern=r"^[1-9]\d*:\d+$")
    """`uid:gid` in the container; never root."""
    host_home: Path
    """KILTER_HOME as the engine's host sees it; differs where Airflow itself is in a container."""
    git_commit: str = ""
    gpus: tuple[Annotated[str, Field(pattern=r"^[\w-]+$")], ...] = ()
    """GPUs that steps may use, as `nvidia-smi -L` names them: indices or UUIDs, with commas between. Empty: all that it shows."""

    @field_validator("gpus", mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        return tuple(filter(None, map(str.strip, given.split(",")))) if isinstance(given, str) else given

    @field_validator("gpus")
    @classmethod
    def _different(cls, gpus: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(gpus)) < len(gpus):
            raise ValueError("a GPU is named twice: name each once")
        return gpus

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> RuntimeSettings:
        """Read `KILTER_<FIELD>`.

        Raises:
            InputError: a value has the wrong form.
        """
        stores = Settings.from_environment(environment)
        names = [name for name in cls.model_fields if name != "stores"]
        given = {name: environment[PREFIX + name.upper()] for name in names if PREFIX + name.upper() in environment}
        try:
            return cls.model_validate({"stores": stores, "host_home": stores.home} | given)
        except ValidationError as error:
            raise InputError(f"settings ({PREFIX}… environment variables): {error}") from None
