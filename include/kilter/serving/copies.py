"""The newest requests of a model, kept while somebody asks for them: a rollout sends copies of them to another version."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from kilter.serving.call import Call

REMEMBERED = 300
"""Requests."""
BYTES = 8 * 1024 * 1024
"""Of their bodies."""
PATIENCE = 5.0
"""Seconds after which who asked last is taken to be gone."""


class Copies:
    """Requests of one model, and how they went; nothing is kept for nobody."""

    def __init__(self) -> None:
        self._asked = -PATIENCE
        self._count = 0
        self._bytes = 0
        self._requests: deque[tuple[int, dict[str, Any]]] = deque()

    @property
    def wanted(self) -> bool:
        """Whether somebody has asked lately."""
        return time.monotonic() - self._asked < PATIENCE

    def keep(self, call: Call, body: bytes, status: int) -> None:
        """Keep an answered request; one whose body is no text is left out."""
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return
        seconds, score = call.answer or (0.0, 0.0)
        request = {"path": call.path, "body": text, "id": call.id, "status": status, "seconds": seconds, "score": score}
        self._requests.append((len(body), request))
        self._count += 1
        self._bytes += len(body)
        while len(self._requests) > REMEMBERED or self._bytes > BYTES:
            self._bytes -= self._requests.popleft()[0]

    def after(self, count: int) -> dict[str, Any]:
        """The requests beyond the first `count`, as far as they are remembered, and how many were kept in all."""
        if not self.wanted:
            self._requests.clear()
            self._bytes = 0
        self._asked = time.monotonic()
        new = max(0, self._count - count)
        return {"kept": self._count, "copies": [request for _, request in list(self._requests)[-new:]] if new else []}
