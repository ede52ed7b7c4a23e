"""Features that a request left out, from the online store: read by threads, judged by the spec, in time for the answer.

What a request carries always counts, also null: only a column that is not there at all is looked up. A row comes to be

found     something of its entity is online, and no older than `features.ttl` at the row's event time; a null that is
          online is a value like any other, as it was in training
missing   nothing of its entity is online
stale     what is online is older than that
failed    the store did not answer, or not within `serving.timeout`

By the spec a row that is not found ends its request with 422, or 503 where the store failed, or is scored without these
features.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

from kilter.encoding import Signature, encode
from kilter.errors import DataError, KilterError
from kilter.serving.request import RefusedRequest, Rows
from kilter.spec import ModelSpec, load_spec
from kilter.stores.online import OnlineRow, OnlineStore

Outcome = Literal["found", "missing", "stale", "failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

THREADS = 4
"""That read at once. A read holds the interpreter for most of its time, so more would only wait."""


@dataclass(frozen=True)
class Found:
    """What a look-up came to.

    Args:
        outcomes: one a row.
        rows: what is online of each row's entity; None where nothing is, or the store failed.
        problem: why it failed, else empty.
    """

    outcomes: Sequence[Outcome]
    rows: Sequence[OnlineRow | None]
    problem: str = ""


class Lookup:
    """The look-ups of one version.

    Args:
        spec: says what may be left out, how old it may be, and what follows where it is not found.
        signature: of the version, whose features count; one that the spec has no more is never looked up.
        store: where they are read.
        threads: that read it.
    """

    def __init__(
        self, spec: ModelSpec, signature: Signature, store: OnlineStore, threads: Executor, log: logging.Logger
    ) -> None:
        self.names = tuple(name for name in signature.names if name in spec.looked_up)
        """The features that a request may leave out."""
        self._model = spec.name
        self._policy = spec.serving
        self._ttl = spec.features.ttl
        self._signature = signature
        self._store = store
        self._threads = threads
        self._log = log
        self._problem = ""

    async def find(self, rows: Rows) -> Found:
        """Read what is online of the rows' entities; never longer than `serving.timeout`, and never an error."""
        entities = [str(entity) for entity in rows.entities]
        seconds = self._policy.timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                online = await asyncio.get_running_loop().run_in_executor(self._threads, self._store.read, entities)
        except TimeoutError:
            return self._failed(rows, f"no answer within {seconds:g} s: raise serving.timeout, or send fewer rows")
        except KilterError as error:
            return self._failed(rows, str(error))
        except Exception as error:
            # Whatever a client of some store raises costs these features and never the answer.
            return self._failed(rows, f"{type(error).__name__}: {error}")
        self._tell("")
        return Found([_outcome(row, at, self._ttl) for row, at in zip(online, rows.timestamps, strict=True)], online)

    def complete(self, rows: Rows, found: Found) -> Rows:
        """The rows with what was found; what was not is missing in them.

        Raises:
            RefusedRequest: 422 or 503, where the spec says `reject`; 503 where a value that is online fits no feature.
        """
        self._refuse(rows, found)
        values = [
            row.values if outcome == "found" and row else {}
            for row, outcome in zip(found.rows, found.outcomes, strict=True)
        ]
        columns = rows.columns | {name: [of_row.get(name) for of_row in values] for name in rows.absent}
        try:
            return replace(rows, matrix=encode(columns, self._signature), columns=columns)
        except DataError as error:
            raise RefusedRequest(
                503, f"online store: {error}: put the features of '{self._model}' online again"
            ) from None

    def _refuse(self, rows: Rows, found: Found) -> None:
        left_out = ", ".join(rows.absent)
        if found.problem and self._policy.missing == "reject":
            raise RefusedRequest(503, f"{left_out} cannot be looked up: {found.problem}; or send them in the request")
        for place, outcome in enumerate(found.outcomes):
            where = f"row {place}: {self._signature.entity} '{rows.entities[place]}'"
            cure = f"send {left_out} in the request, or run {self._model}.feature_ingestion"
            if outcome == "missing" and self._policy.missing == "reject":
                raise RefusedRequest(422, f"{where} has no features online: {cure}")
            if outcome == "stale" and self._policy.stale == "reject" and (row := found.rows[place]):
                raise RefusedRequest(
                    422,
                    f"{where} has features of {row.at.isoformat()} online, older than features.ttl {self._ttl} "
                    f"at {rows.timestamps[place].isoformat()}: {cure}",
                )

    def _failed(self, rows: Rows, problem: str) -> Found:
        self._tell(problem)
        count = len(rows.entities)
        return Found(["failed"] * count, [None] * count, problem)

    def _tell(self, problem: str) -> None:
        """Log that the store fails and that it answers again, once each."""
        if problem != self._problem:
            self._problem = problem
            self._log.log(
                logging.ERROR if problem else logging.INFO,
                "%s: look-ups: %s",
                self._model,
                problem or "the online store answers again",
            )


def _outcome(row: OnlineRow | None, at: datetime, ttl: timedelta) -> Outcome:
    """What a row's look-up came to, at its event time.

    Online times are to the second, so is the age.
    """
    if row is None:
        return "missing"
    return "stale" if at.replace(microsecond=0) - row.at > ttl else "found"


Open = Callable[[ModelSpec], OnlineStore]


def looks_up(models: Path, open_store: Open, log: logging.Logger) -> Callable[[str, Signature], Lookup | None]:
    """A function that opens the look-ups of a version: by its model's name and its signature; None where it has none.

    Args:
        models: the folder with the models' specs; read anew for each version.
        open_store: opens the online store as a model sees it; called only where something is looked up.
    """
    threads = ThreadPoolExecutor(THREADS, "look-up")

    def of(model: str, signature: Signature) -> Lookup | None:
        spec = load_spec(models / model)
        if not set(spec.looked_up) & set(signature.names):
            return None
        return Lookup(spec, signature, open_store(spec), threads, log)

    return of
