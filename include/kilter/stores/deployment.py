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


def read_deployment(objects: ObjectStore, role: Role, model: str) -> Deployment | None:
    """What the role shall hold of this model; None when nothing was deployed or it was withdrawn.

    Raises:
        DataError: the object is there and is no desired state.
    """
    key = _key(role, model)
    try:
        text = objects.get(key)
    except DataError:
        return None
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
