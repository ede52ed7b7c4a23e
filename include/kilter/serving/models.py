"""The models that a server holds: loaded by digest, swapped whole, never from a pickle."""

from __future__ import annotations

import gc
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from pydantic import ValidationError

from kilter.encoding import Matrix, Signature
from kilter.errors import DataError, KilterError
from kilter.serving.lookup import Lookup
from kilter.serving.predictors import Predictor, of_booster, of_onnx
from kilter.serving.score import Score
from kilter.stores.deployment import Deployment, NotDeployed, Role, read_deployment
from kilter.stores.objects import ObjectStore, read_file, read_manifest
from kilter.trainers import SIGNATURE_FILE
from kilter.trainers.torch import ONNX_FILE
from kilter.trainers.xgboost import MODEL_FILE

POLL_SECONDS = 0.3
REMEMBERED = 4096
"""Answers of a version that are remembered for whoever compares it with another."""
WATCHED_SECONDS = 60.0
"""How long a canary takes requests without being watched: whoever compares it may have died."""


class LoadedModel:
    """One version in memory, and what was answered with it.

    Args:
        lookup: finds the features that a request may leave out; None where it may leave out none.
    """

    def __init__(
        self, deployment: Deployment, signature: Signature, predictor: Predictor, lookup: Lookup | None = None
    ) -> None:
        self.deployment = deployment
        self.signature = signature
        self.lookup = lookup
        self.optional = lookup.names if lookup else ()
        self.loaded_at = time.time()
        self.requests = 0
        self._answers: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)
        self._predictor = predictor
        self._watched_at = time.monotonic()

    def watch(self) -> None:
        """Note that somebody watches what it answers."""
        self._watched_at = time.monotonic()

    @property
    def unwatched(self) -> bool:
        """Whether nobody has watched it for `WATCHED_SECONDS`, from its loading on."""
        return time.monotonic() - self._watched_at > WATCHED_SECONDS

    @property
    def predictor(self) -> str:
        """What computes the scores, and why not the quickest."""
        return self._predictor.name

    def answered(self, seconds: float, score: float) -> None:
        """Remember how long an answer took, and the score of its first row as one number."""
        self.requests += 1
        self._answers.append((seconds, score))

    def answers(self, after: int) -> list[tuple[float, float]]:
        """What `answered` was told beyond the first `after` answers, as far as it is remembered."""
        new = max(0, self.requests - after)
        return list(self._answers)[-new:] if new else []

    def predict(self, rows: Matrix) -> Sequence[Score]:
        """Score rows, one after the other."""
        return self._predictor.predict(rows)


LookUp = Callable[[str, Signature], Lookup | None]
"""Opens the look-ups of a model's version, by the name of the one and the signature of the other."""


def looks_nothing_up(model: str, signature: Signature) -> None:
    """For servers whose requests carry every feature."""


def load(objects: ObjectStore, deployment: Deployment, look_up: LookUp = looks_nothing_up) -> LoadedModel:
    """Load a version, each file checked against the digest.

    Raises:
        SpecError: the model's spec, which says what is looked up, cannot be read.
        DataError: it was never committed, is altered, lies elsewhere than among the models, or is
            neither an XGBoost model in UBJSON nor an ONNX model.
    """
    if deployment.key != f"models/{deployment.model}/{deployment.digest}":
        raise DataError(
            f"model '{deployment.model}': key '{deployment.key}' is not models/{deployment.model}/{deployment.digest}: "
            "deploy it with the registry's key and digest"
        )
    manifest = read_manifest(objects, deployment.key)
    signature = _signature(read_file(objects, manifest, SIGNATURE_FILE), deployment.key)
    if ONNX_FILE in manifest.files and MODEL_FILE in manifest.files:
        raise DataError(f"{deployment.key} holds {MODEL_FILE} and {ONNX_FILE}: commit the model as one of them")
    name, read = (ONNX_FILE, of_onnx) if ONNX_FILE in manifest.files else (MODEL_FILE, of_booster)
    predictor = read(read_file(objects, manifest, name), signature, f"{deployment.key}/{name}")
    return LoadedModel(deployment, signature, predictor, look_up(deployment.model, signature))


def _signature(data: bytes, key: str) -> Signature:
    try:
        return Signature.model_validate_json(data)
    except ValidationError as error:
        raise DataError(f"{key}/{SIGNATURE_FILE} is no signature: {error}: train the model again") from None


class LiveModels:
    """The versions that a server answers with, kept at the desired state by a thread of its own.

    A version is replaced by one assignment, so a request sees the old or the new one, whole. What
    cannot be loaded, and a desired state that is gone, is reported and leaves the version before it in
    place; only what was withdrawn is unloaded.

    Args:
        objects: the store of models and desired states.
        role: the role whose desired state counts.
        names: gives the names of the models that there are.
        look_up: opens a version's look-ups; it may take seconds, before the version answers.
    """

    def __init__(
        self,
        objects: ObjectStore,
        role: Role,
        names: Callable[[], Iterable[str]],
        log: logging.Logger,
        look_up: LookUp = looks_nothing_up,
    ) -> None:
        self._objects = objects
        self.role = role
        self._names = names
        self._log = log
        self._look_up = look_up
        self._loaded: dict[str, LoadedModel | None] = {}
        self._problems: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="poll", daemon=True)

    def start(self) -> None:
        """Load what is desired now, then watch for changes."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def find(self, model: str) -> LoadedModel | None:
        """The version that answers for this model, or None while there is none.

        Raises:
            KeyError: there is no such model.
        """
        return self._loaded[model]

    def held(self) -> list[LoadedModel]:
        """The versions that answer now."""
        return [loaded for loaded in list(self._loaded.values()) if loaded is not None]

    def problem(self, model: str) -> str | None:
        """Why the desired version of this model is not the one that answers."""
        return self._problems.get(model)

    def refresh(self) -> None:
        """Compare every model with its desired state, and load what differs."""
        for model in self._names():
            try:
                self._follow(model, read_deployment(self._objects, self.role, model))
                self._problems.pop(model, None)
            except NotDeployed as error:
                # A role that holds nothing yet is no problem; one whose desired state was lost keeps what it has.
                if self._loaded.setdefault(model, None) is not None:
                    self._report(model, str(error))
            except (KilterError, OSError) as error:
                self._report(model, str(error))

    def _follow(self, model: str, desired: Deployment | None) -> None:
        held = self._loaded.setdefault(model, None)
        if desired == (held and held.deployment):
            return
        if desired is None:
            self._loaded[model] = None
            self._log.info("%s: holds nothing of %s any more", self.role, model)
            return
        started = time.monotonic()
        loaded = load(self._objects, desired, self._look_up)
        loaded.predict(np.full((1, len(loaded.signature.names)), np.nan, dtype=np.float32))
        self._loaded[model] = loaded
        # Each call to XGBoost makes garbage; what lives for good need not be walked to find it.
        gc.collect()
        gc.freeze()
        seconds = time.monotonic() - started
        fact = {
            "model": model,
            "version": desired.version,
            "digest": desired.digest,
            "predictor": loaded.predictor,
            "seconds": round(seconds, 3),
        }
        self._log.info("%s: holds %s", self.role, json.dumps(fact))

    def _report(self, model: str, problem: str) -> None:
        self._loaded.setdefault(model, None)
        if self._problems.get(model) != problem:
            self._problems[model] = problem
            self._log.error("%s: %s stays as it is: %s", self.role, model, problem)

    def _poll(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            try:
                self.refresh()
            except Exception:
                # The thread must outlive any fault: without it the server would never swap again.
                self._log.exception("%s: cannot follow the desired state", self.role)
