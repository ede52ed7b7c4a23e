"""One request to the model server, below the protocols: its method, path and headers, and those of its answer."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from kilter.serving.models import LoadedModel
from kilter.serving.request import RefusedRequest

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

JSON = b"application/json"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_ERROR_LENGTH = 2000
"""A refusal shows the value at fault, which may be as long as a body."""


@dataclass(slots=True)
class Call:
    """One request: what is asked, and what the headers of its answer tell.

    Args:
        id: the client's `x-request-id` where it is 1 to 64 letters, digits, dots, dashes or underscores; else a new one.
        copy: whether somebody else got this request's answer already, from another version (`x-kilter-copy`).
        model: the version that answers, once it is found.
        answer: how many seconds it took and the score of its first row as one number, once there is one.
    """

    method: str
    path: str
    receive: Receive
    query: bytes = b""
    id: str = ""
    content_type: bytes = b""
    copy: bool = False
    model: LoadedModel | None = None
    answer: tuple[float, float] | None = None

    @classmethod
    def of(cls, scope: Scope, receive: Receive) -> Call:
        """The call of an ASGI scope."""
        call = cls(scope["method"], scope["path"], receive, scope.get("query_string", b""))
        for name, value in scope.get("headers", ()):
            if name == b"content-type":
                call.content_type = value
            elif name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                call.id = value.decode()
            elif name == b"x-kilter-copy":
                call.copy = True
        # As unlikely to come twice as a UUID, in a third of its time.
        call.id = call.id or os.urandom(16).hex()
        return call

    def allow(self, method: str) -> None:
        """Refuse every other method."""
        if self.method != method:
            raise RefusedRequest(405, f"{self.method} {self.path}: only {method} is allowed here", method)

    def require_json(self) -> None:
        """Refuse a body that does not say that it is JSON, in UTF-8."""
        if self.content_type == JSON:
            return
        kind, *parameters = (part.strip() for part in self.content_type.decode("latin-1").lower().split(";"))
        if kind != JSON.decode() or any(part not in ("charset=utf-8", 'charset="utf-8"') for part in parameters):
            raise RefusedRequest(
                415, f"content-type '{self.content_type.decode('latin-1')}': send {JSON.decode()}, in UTF-8"
            )

    def refusal(self, error: RefusedRequest) -> dict[str, Any]:
        """The answer's content where the request is refused."""
        content: dict[str, Any] = {"error": str(error)[:_ERROR_LENGTH], "request_id": self.id}
        if self.model is not None:
            content["model_version"] = self.model.deployment.version
        return content

    def headers(self, content_type: bytes, allowed: str = "") -> list[tuple[bytes, bytes]]:
        """The answer's headers."""
        headers = [(b"content-type", content_type), (b"x-request-id", self.id.encode())]
        if self.model is not None:
            headers.append((b"x-model-version", str(self.model.deployment.version).encode()))
        if self.copy and self.answer:
            seconds, score = self.answer
            headers += [(b"x-kilter-seconds", repr(seconds).encode()), (b"x-kilter-score", repr(score).encode())]
        if allowed:
            headers.append((b"allow", allowed.encode()))
        return headers
