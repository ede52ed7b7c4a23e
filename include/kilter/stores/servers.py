"""The model servers, one for each role: told what to hold through the object store, asked over HTTP."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

import httpx

from kilter.errors import InputError, UnavailableError
from kilter.stores.deployment import Deployment, NotDeployed, Role, read_deployment, write_deployment
from kilter.stores.objects import ObjectStore

_POLL = 0.05
_ANSWER = 5.0
NONE = 2**53
"""More answers than a server ever gave: asks for none of them."""
NO_ANSWER = 599
"""The status of a request that nobody answered."""


@dataclass(frozen=True)
class Answers:
    """What a server says of the version that it holds.

    Args:
        digest: the version's digest.
        requests: answers given since it was loaded.
        newest: seconds and first score of the newest of them; of several classes the greatest probability.
    """

    digest: str
    requests: int
    newest: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Answer:
    """How one request went: its status, 599 where no answer came, and of an answer its seconds and first score.

    Of several classes the score is the greatest probability.
    """

    status: int
    seconds: float = math.nan
    score: float = math.nan


@dataclass(frozen=True)
class Copy:
    """A request that a server answered, to be sent to another, and how it went."""

    path: str
    body: str
    id: str
    answer: Answer


class Servers:
    """The model servers of an installation.

    Args:
        objects: where desired states are written; the servers poll the same store.
        urls: base URL of the server of each role.
    """

    def __init__(self, objects: ObjectStore, urls: Mapping[Role, str]) -> None:
        self._objects = objects
        self._urls = urls

    def deploy(
        self,
        role: Role,
        model: str,
        version: int,
        key: str,
        digest: str,
        timeout: timedelta = timedelta(seconds=30),
    ) -> None:
        """Make the role hold this version, and wait until its server answers with it.

        Deploying what is already held changes nothing. A desired state that was lost or altered is written anew.

        Raises:
            InputError: `digest` is not that of `key`.
            UnavailableError: the server did not get there within `timeout`; says what it answered.
        """
        if key != f"models/{model}/{digest}":
            raise InputError(
                f"key '{key}' of '{model}' version {version} is not models/{model}/{digest}: give the registry's key"
            )
        deployment = Deployment(model=model, version=version, key=key, digest=digest)
        write_deployment(self._objects, role, model, deployment)
        deadline = time.monotonic() + timeout.total_seconds()
        while (answer := self._ready(role, model)).get("digest") != digest or answer.get("version") != version:
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"the {role} server at {self._urls[role]} does not hold '{model}' version {version} ({digest[:12]}) "
                    f"after {timeout.total_seconds():g} s; it says: {answer}: is it up, and on the same object store?"
                )
            time.sleep(_POLL)

    def deployed(self, role: Role, model: str) -> Deployment | None:
        """What the role shall hold of this model, or None.

        Raises:
            DataError: its desired state is damaged.
        """
        try:
            return read_deployment(self._objects, role, model)
        except NotDeployed:
            return None

    def withdraw(self, role: Role, model: str) -> None:
        """Let the role hold nothing of this model, and say so: its server forgets it within a second."""
        write_deployment(self._objects, role, model, None)

    def answers(self, role: Role, model: str, after: int = 0) -> Answers:
        """What the role's server answered beyond its first `after` answers.

        Raises:
            UnavailableError: the server does not answer, or holds no version of this model.
        """
        answer = self._get(role, f"models/{model}/answers?after={after}")
        if "requests" not in answer:
            raise UnavailableError(
                f"the {role} server at {self._urls[role]} holds no version of '{model}'; it says: {answer}"
            )
        return Answers(answer["digest"], answer["requests"], [(seconds, score) for seconds, score in answer["answers"]])

    def watch(self, role: Role, model: str) -> None:
        """Tell the role's server that somebody watches it: a canary that nobody watches takes no requests for long."""
        self._get(role, f"models/{model}/answers?after={NONE}")

    def copies(self, role: Role, model: str, after: int) -> tuple[int, list[Copy]]:
        """Requests that the role's server answered beyond its first `after`, and how many it has kept for us in all.

        It keeps them only while somebody asks, and no more than a few hundred: a busy server's are a sample.

        Raises:
            UnavailableError: the server does not answer, or holds no version of this model.
        """
        answer = self._get(role, f"models/{model}/copies?after={after}")
        if "kept" not in answer:
            raise UnavailableError(
                f"the {role} server at {self._urls[role]} tells no requests of '{model}'; it says: {answer}"
            )
        found = [
            Copy(item["path"], item["body"], item["id"], Answer(item["status"], item["seconds"], item["score"]))
            for item in answer["copies"]
        ]
        return answer["kept"], found

    def repeat(self, role: Role, copy: Copy) -> Answer:
        """Let the role's server answer a copy; nobody gets the answer, and its log says that it is one."""
        headers = {"content-type": "application/json", "x-request-id": copy.id, "x-kilter-copy": "1"}
        try:
            answer = self._client.post(f"{self._urls[role]}{copy.path}", content=copy.body, headers=headers)
            if answer.status_code != 200:
                return Answer(answer.status_code)
            return Answer(200, float(answer.headers["x-kilter-seconds"]), float(answer.headers["x-kilter-score"]))
        except httpx.HTTPError:
            return Answer(NO_ANSWER)

    @cached_property
    def _client(self) -> httpx.Client:
        return httpx.Client(timeout=_ANSWER)

    def _ready(self, role: Role, model: str) -> dict[str, Any]:
        return self._get(role, f"models/{model}/ready")

    def _get(self, role: Role, path: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = httpx.get(f"{self._urls[role]}/{path}", timeout=_ANSWER).json()
        except (httpx.HTTPError, ValueError) as error:
            return {"error": str(error)}
        return answer
