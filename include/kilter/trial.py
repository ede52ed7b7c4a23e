"""A trial server as a client sees it: rows in, scores out, and what it tells of itself.

UnavailableError
├── GoneError       nobody listens at its address, or it broke off its answer: it has ended
└── SilentError     it is there and does not answer in time
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from kilter.encoding import Signature
from kilter.errors import UnavailableError
from kilter.scores import Scores

if TYPE_CHECKING:
    import pandas as pd

BATCH = 100
"""Rows of a request with many."""
_TIMEOUT = 10.0
_POLL = 0.1
_ROUNDING = 1e-3
"""How far probabilities of all classes, each computed in float32, may be from 1 together."""


class GoneError(UnavailableError):
    """Nobody listens at the server's address any more, or it broke off its answer: it has ended."""


class SilentError(UnavailableError):
    """The server took too long."""


@dataclass(frozen=True)
class Wait:
    """How waiting for a version ended.

    Args:
        ready: whether it answers.
        listens: whether something took connections at the end.
        last_words: what was heard last.
    """

    ready: bool
    listens: bool
    last_words: str


class TrialServer:
    """One model at one server.

    Args:
        endpoint: the server's base URL.
        model: name of the model.
    """

    def __init__(self, endpoint: str, model: str) -> None:
        self.url = f"{endpoint}/models/{model}/invocations"
        self._endpoint = endpoint
        self._ready = f"{endpoint}/models/{model}/ready"
        self._client = httpx.Client(timeout=_TIMEOUT, headers={"content-type": "application/json"})

    def __enter__(self) -> TrialServer:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def wait(self, digest: str, within: timedelta) -> Wait:
        """Wait until the version with this digest answers."""
        deadline = time.monotonic() + within.total_seconds()
        listens, words = True, "nothing"
        while time.monotonic() < deadline:
            try:
                answer = self._client.get(self._ready)
                listens, words = True, answer.text
                if answer.status_code == 200 and answer.json().get("digest") == digest:
                    return Wait(True, listens, words)
            except ValueError as error:
                words = f"{error} in {words[:300]}"
            except httpx.TransportError as error:
                listens, words = not isinstance(error, httpx.ConnectError), str(error)
            time.sleep(_POLL)
        return Wait(False, listens, words)

    def post(self, body: bytes) -> httpx.Response:
        """Send a body as it is.

        Raises:
            GoneError: the server has ended.
            SilentError: it took more than 10 s.
        """
        return self._ask("POST", self.url, body)

    def metrics(self) -> dict[str, float]:
        """What `/metrics` tells: value by series, such as `kilter_requests_total{model="m",version="1"}`.

        Nothing where it does not tell, or not in time.

        Raises:
            GoneError: the server has ended.
        """
        try:
            answer = self._ask("GET", f"{self._endpoint}/metrics")
        except SilentError:
            return {}
        return dict(_series(answer.text)) if answer.status_code == 200 else {}

    def _ask(self, method: str, url: str, body: bytes | None = None) -> httpx.Response:
        try:
            return self._client.request(method, url, content=body)
        except httpx.TimeoutException:
            raise SilentError(f"{url}: no answer within {_TIMEOUT:g} s") from None
        except httpx.TransportError as error:
            raise GoneError(f"{url}: {error or type(error).__name__}") from None


def body_of(rows: pd.DataFrame, names: Sequence[str]) -> bytes:
    """Rows as the body of an invocation, in the order of `names`."""
    missing_as_none = rows[list(names)].astype(object).where(rows[list(names)].notna(), None)
    table = {"columns": list(names), "data": missing_as_none.values.tolist()}
    return json.dumps({"dataframe_split": table}, allow_nan=False).encode()


def scores_of(answer: Any, rows: int, signature: Signature) -> Scores:
    """The predictions of an answer, shape (rows,), or (rows, classes) of several classes.

    Raises:
        ValueError: they are not one score of the signature's task a row: a finite number, in [0, 1] where it is a
            probability, or as many of these as there are classes; says what they are instead.
    """
    scores = answer.get("predictions") if isinstance(answer, dict) else None
    if not isinstance(scores, list) or len(scores) != rows:
        found = f"{len(scores)} of them" if isinstance(scores, list) else repr(scores)
        raise ValueError(f"predictions: got {found} for {rows} rows")
    for score in scores:
        if fault := _fault(score, signature):
            raise ValueError(f"predictions: got {score!r}: {fault}")
    return np.array(scores, dtype=np.float64)


def _fault(score: Any, signature: Signature) -> str:
    """Why a score is none of the signature's task; empty where it is one."""
    classes = len(signature.classes)
    numbers = score if classes else [score]
    if not isinstance(numbers, list) or len(numbers) != max(1, classes):
        return f"no list of {classes} numbers, one a class"
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            return f"{number!r} is no finite number"
        if signature.task != "regression" and not 0 <= number <= 1:
            return f"{number!r} is not in [0, 1]"
    if classes and not math.isclose(sum(numbers), 1, abs_tol=_ROUNDING):
        return f"the sum is {sum(numbers):g} and not 1"
    return ""


def _series(text: str) -> Iterator[tuple[str, float]]:
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#"):
            yield name, float(value)
