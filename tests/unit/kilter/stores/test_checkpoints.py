"""Checkpoints of trainings in the object store."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from kilter.errors import DataError, UnavailableError
from kilter.stores.checkpoints import ObjectCheckpoints
from kilter.stores.objects import FileObjects, MemoryObjects, ObjectStore
from kilter.trainers.checkpoints import Checkpoint, from_safetensors, to_safetensors

LOG = logging.getLogger("test")
STATE = Checkpoint({"weights": np.array([1.5, -2.0], np.float32), "step": np.array(7)}, {"epoch": 3, "losses": [0.5]})


def of(objects: ObjectStore, identity: str = "one") -> ObjectCheckpoints:
    return ObjectCheckpoints(objects, "m", identity, LOG)


def test_what_was_saved_last_is_found_by_the_same_training_with_its_run() -> None:
    objects = MemoryObjects()
    first = of(objects)
    first.save(Checkpoint({}, {"epoch": 2}))
    first.run_id = "run-1"
    first.save(STATE)
    again = of(objects)
    found = again.load()
    assert found is not None
    assert found.facts["epoch"] == 3
    assert {name: value.tolist() for name, value in found.tensors.items()} == {"weights": [1.5, -2.0], "step": 7}
    assert again.run_id == "run-1"
    assert objects.list("checkpoints/") == ["checkpoints/m/one.safetensors"]


def test_another_training_finds_nothing() -> None:
    objects = MemoryObjects()
    of(objects).save(STATE)
    assert of(objects, "two").load() is None


def test_one_that_was_put_in_the_place_of_another_is_refused_with_both_named() -> None:
    objects = MemoryObjects()
    of(objects).save(STATE)
    objects.put("checkpoints/m/two.safetensors", objects.get("checkpoints/m/one.safetensors"))
    with pytest.raises(DataError, match=r"checkpoint of training one, and this is training two, of another snapshot"):
        of(objects, "two").load()


@pytest.mark.parametrize("cut", [0, 4, 40, -1])
def test_half_a_checkpoint_is_refused(cut: int) -> None:
    objects = MemoryObjects()
    of(objects).save(STATE)
    key = "checkpoints/m/one.safetensors"
    objects.put(key, objects.get(key)[:cut])
    with pytest.raises(DataError, match=r"memory://checkpoints/m/one.safetensors is no safetensors file.*: remove it"):
        of(objects).load()


def test_one_that_is_deleted_is_gone_and_may_be_deleted_again() -> None:
    objects = MemoryObjects()
    of(objects).save(STATE)
    of(objects).delete()
    of(objects).delete()
    assert objects.list("") == []


class Full(MemoryObjects):
    """A store that takes nothing while it is full."""

    full = True

    def put(self, key: str, data: bytes) -> None:
        if self.full:
            raise UnavailableError("no space left")
        super().put(key, data)


def test_a_store_that_takes_nothing_ends_no_training_and_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    objects = Full()
    checkpoints = of(objects)
    checkpoints.save(STATE)
    checkpoints.save(STATE)
    assert [
        line for line in caplog.messages if "a kill would cost the epochs since the last one" in line
    ] == caplog.messages
    assert len(caplog.messages) == 1
    objects.full = False
    checkpoints.save(STATE)
    assert of(objects).load() is not None


def test_a_fault_of_the_disk_says_which_object_and_leaves_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("not a folder")
    with pytest.raises(
        UnavailableError, match=r"models/m cannot be written, 1 bytes: (Not a directory|File exists): make"
    ):
        FileObjects(tmp_path).put("models/m", b"x")


def test_equal_content_is_equal_bytes_and_is_read_back() -> None:
    data = to_safetensors(STATE.tensors, STATE.facts)
    assert data == to_safetensors(dict(reversed(STATE.tensors.items())), STATE.facts)
    assert from_safetensors(data, "it").facts == STATE.facts
