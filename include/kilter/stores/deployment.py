"""The desired state of a server role: which version of a model it shall hold.

Whoever promotes writes it to the object store; the model server polls it. So a server that
restarts comes back with what it should serve, and nobody needs to talk to it to change it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from kilter.errors import DataError
from kilter.stores.objects import ObjectStore

Role = Literal["champion", "canary"]
ROLES: tuple[Role, ...] = ("champion", "canary")


class Deployment(BaseModel):
    """One version of one model, by its place in the object store and its digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    version: int
    key: str
    digest: str


class NotDeployed(DataError):
    """A role has no desired state: never deployed to, or lost. Not the same as one that was withdrawn."""


def read_deployment(objects: ObjectStore, role: Role, model: str) -> Deployment | None:
    """What the role shall hold of this model; None when that was withdrawn, so that it shall hold nothing.

    Raises:
        NotDeployed: there is no desired state at all.
        DataError: the object is there and is no desired state.
    """
    key = _key(role, model)
    try:
        text = objects.get(key)
    except DataError:
        if objects.exists(key):
            raise
        raise NotDeployed(
            f"{objects.uri(key)} is absent: nothing was ever deployed there, or the store lost it: "
            "restore the store, or deploy the model again"
        ) from None
    if text == _NOTHING:
        return None
    try:
        return Deployment.model_validate_json(text)
    except ValidationError as error:
        raise DataError(f"{objects.uri(key)} is no desired state: {error}: deploy the model again") from None


def write_deployment(objects: ObjectStore, role: Role, model: str, deployment: Deployment | None) -> None:
    """Make this version, or nothing, the desired state of the role."""
    text = deployment.model_dump_json(indent=1).encode() if deployment else _NOTHING
    objects.put(_key(role, model), text)


# The object store has no delete, and needs none: nothing is a state like any other.
_NOTHING = b"null"


def _key(role: Role, model: str) -> str:
    return f"serving/{model}/{role}.json"
