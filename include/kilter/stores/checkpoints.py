"""Checkpoints of trainings in the object store."""

from __future__ import annotations

import logging

from kilter.errors import DataError, UnavailableError
from kilter.stores.objects import ObjectStore
from kilter.trainers.checkpoints import Checkpoint, from_safetensors, to_safetensors


class ObjectCheckpoints:
    """The one checkpoint of a training, `checkpoints/<model>/<identity>.safetensors`.

    Args:
        identity: digest of all that the training's result depends on.
    """

    def __init__(self, objects: ObjectStore, model: str, identity: str, log: logging.Logger) -> None:
        self.run_id = ""
        """MLflow's run of the training, kept with each checkpoint."""
        self._objects = objects
        self._identity = identity
        self._key = f"checkpoints/{model}/{identity}.safetensors"
        self._log = log
        self._failing = False

    def load(self) -> Checkpoint | None:
        """As `kilter.trainers.checkpoints.Checkpoints` describes."""
        if not self._objects.exists(self._key):
            return None
        uri = self._objects.uri(self._key)
        found = from_safetensors(self._objects.get(self._key), uri)
        if (identity := found.facts.get("identity")) != self._identity:
            raise DataError(
                f"{uri} is the checkpoint of training {identity}, and this is training {self._identity}, of another "
                "snapshot, spec, code or environment: remove it"
            )
        self.run_id = str(found.facts["run_id"])
        return found

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace it; where the store takes nothing, the training goes on, and one warning says what a kill would cost."""
        facts = {**checkpoint.facts, "identity": self._identity, "run_id": self.run_id}
        try:
            self._objects.put(self._key, to_safetensors(checkpoint.tensors, facts))
        except UnavailableError as error:
            if not self._failing:
                self._log.warning("no checkpoint, so that a kill would cost the epochs since the last one: %s", error)
            self._failing = True
        else:
            self._failing = False

    def delete(self) -> None:
        """Remove it: the training has ended."""
        try:
            self._objects.delete(self._key)
        except UnavailableError as error:
            self._log.warning("%s stays, and may be removed: %s", self._objects.uri(self._key), error)
