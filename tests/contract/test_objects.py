"""Every object store keeps the same promises: files, S3 (a moto server) and memory."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from kilter.errors import DataError, InputError, UnavailableError
from kilter.stores.objects import (
    MANIFEST,
    FileObjects,
    MemoryObjects,
    ObjectStore,
    S3Objects,
    ScratchObjects,
    commit_dataset,
    open_file,
    open_objects,
    read_file,
    read_manifest,
)


@pytest.fixture(params=["file", "memory", "scratch", "s3", "s3 below a prefix"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "file":
        return FileObjects(tmp_path / "store")
    if request.param == "memory":
        return MemoryObjects()
    if request.param == "scratch":
        return ScratchObjects(FileObjects(tmp_path / "store"))
    bucket: str = request.getfixturevalue("bucket")
    return S3Objects(bucket, "some/prefix/" if "prefix" in request.param else "")


def test_what_was_put_is_got(objects: ObjectStore) -> None:
    objects.put("a/b.bin", b"\x00one")
    assert objects.get("a/b.bin") == b"\x00one"
    assert objects.exists("a/b.bin")


def test_a_second_put_replaces_the_first(objects: ObjectStore) -> None:
    objects.put("a", b"a longer first")
    objects.put("a", b"second")
    assert objects.get("a") == b"second"


def test_a_part_of_an_object_is_read_without_the_rest(objects: ObjectStore) -> None:
    objects.put("long", bytes(range(256)) * 20_000)
    with objects.open("long") as file:
        file.seek(-3, 2)
        assert file.read() == b"\xfd\xfe\xff"
        file.seek(4_000_000)
        assert file.read(3) == bytes(range(256))[4_000_000 % 256 :][:3]
        assert file.tell() == 4_000_003


def test_an_open_object_is_read_to_its_end(objects: ObjectStore) -> None:
    content = bytes(range(251)) * 15_000
    objects.put("long", content)
    with objects.open("long") as file:
        assert file.read() == content
        assert file.read() == b""


def test_what_was_deleted_is_gone_and_may_be_deleted_again(objects: ObjectStore) -> None:
    objects.put("a/b", b"1")
    for _ in range(2):
        objects.delete("a/b")
    assert not objects.exists("a/b")
    assert objects.list("a/") == []
    with pytest.raises(DataError, match="no object at"):
        objects.open("a/b")


def test_an_object_that_is_replaced_while_it_is_open_is_never_read_as_a_mixture(objects: ObjectStore) -> None:
    objects.put("long", b"a" * 3_000_000)
    with objects.open("long") as file:
        assert file.read(3) == b"aaa"
        objects.put("long", b"b" * 3_000_000)
        file.seek(2_000_000)
        if isinstance(objects, S3Objects):
            with pytest.raises(UnavailableError, match=r"s3://kilter/.*long was replaced while it was read: try again"):
                file.read(3)
        else:
            assert file.read(3) == b"aaa"
    with objects.open("long") as file:
        assert file.read(3) == b"bbb"


def test_an_object_may_be_empty(objects: ObjectStore) -> None:
    objects.put("empty", b"")
    assert objects.get("empty") == b""


def test_an_absent_object_is_a_data_error_that_names_it(objects: ObjectStore) -> None:
    assert not objects.exists("a/b")
    with pytest.raises(DataError, match=r"no object at .*a/b: it was never committed"):
        objects.get("a/b")


def test_a_folder_is_no_object(objects: ObjectStore) -> None:
    objects.put("a/b", b"")
    assert not objects.exists("a")
    with pytest.raises(DataError, match="no object at"):
        objects.get("a")


def test_a_list_is_sorted_and_knows_prefixes_inside_names(objects: ObjectStore) -> None:
    for key in ("m/2", "m/10", "m/1/x", "mm/1", "n"):
        objects.put(key, b"")
    assert objects.list("m/") == ["m/1/x", "m/10", "m/2"]
    assert objects.list("m/1") == ["m/1/x", "m/10"]
    assert objects.list("m") == ["m/1/x", "m/10", "m/2", "mm/1"]
    assert objects.list("") == ["m/1/x", "m/10", "m/2", "mm/1", "n"]
    assert objects.list("absent/") == []


def test_a_uri_ends_with_the_key(objects: ObjectStore) -> None:
    assert objects.uri("a/b").endswith("/a/b")


def test_readers_see_a_whole_object_or_the_one_before(objects: ObjectStore) -> None:
    """While one thread replaces an object, another never reads a mixture or nothing."""
    versions = [bytes([number]) * 300_000 for number in range(8)]
    objects.put("hot", versions[0])
    done = threading.Event()

    def write() -> None:
        for version in versions:
            objects.put("hot", version)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert objects.get("hot") in versions
    writer.join()


def test_a_dataset_is_found_under_its_digest(objects: ObjectStore) -> None:
    made = commit_dataset(objects, "sets", {"a.bin": b"1", "b.bin": b"2"}, {"rows": 2})
    assert made.key == f"sets/{made.digest}"
    assert read_manifest(objects, made.key) == made
    assert read_file(objects, made, "b.bin") == b"2"
    assert made.facts == {"rows": 2}


def test_equal_content_is_one_dataset_and_other_facts_are_another(objects: ObjectStore) -> None:
    first = commit_dataset(objects, "sets", {"a": b"1", "b": b"2"}, {"rows": 2})
    assert commit_dataset(objects, "sets", {"b": b"2", "a": b"1"}, {"rows": 2}) == first
    assert commit_dataset(objects, "sets", {"a": b"1", "b": b"2"}, {"rows": 3}).digest != first.digest
    assert len(objects.list("sets/")) == 6


def test_without_its_manifest_a_dataset_does_not_exist(objects: ObjectStore) -> None:
    objects.put("sets/abc/a", b"1")
    with pytest.raises(DataError, match="never committed"):
        read_manifest(objects, "sets/abc")


def test_the_manifest_is_written_after_every_file(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    put = objects.put
    monkeypatch.setattr(objects, "put", lambda key, data: (written.append(key), put(key, data)))
    made = commit_dataset(objects, "sets", {"a": b"1", "b": b"2"})
    assert written[-1] == f"{made.key}/{MANIFEST}"
    assert len(written) == 3


def test_an_altered_file_is_a_data_error_with_both_digests(objects: ObjectStore) -> None:
    made = commit_dataset(objects, "sets", {"a": b"1"})
    objects.put(f"{made.key}/a", b"2")
    with pytest.raises(DataError, match=r"was altered: sha256 \w{64}, committed \w{64}"):
        read_file(objects, made, "a")


def test_a_file_that_is_opened_is_checked_first(objects: ObjectStore) -> None:
    made = commit_dataset(objects, "sets", {"a": b"one"})
    with open_file(objects, made, "a") as file:
        assert file.read() == b"one"
    objects.put(f"{made.key}/a", b"two")
    with pytest.raises(DataError, match=r"was altered: sha256 \w{64}, committed \w{64}"):
        open_file(objects, made, "a")
    with pytest.raises(DataError, match="has no file 'z'; it holds: a"):
        open_file(objects, made, "z")


def test_an_altered_manifest_is_a_data_error(objects: ObjectStore) -> None:
    made = commit_dataset(objects, "sets", {"a": b"1"}, {"rows": 1})
    key = f"{made.key}/{MANIFEST}"
    objects.put(key, objects.get(key).replace(b'"rows": 1', b'"rows": 9').replace(b'"rows":1', b'"rows":9'))
    with pytest.raises(DataError, match="was altered"):
        read_manifest(objects, made.key)


@pytest.mark.parametrize("damage", ["altered", "missing", "manifest"])
def test_committing_a_damaged_dataset_again_repairs_it(objects: ObjectStore, damage: str) -> None:
    files = {"a": b"1", "b": b"2"}
    made = commit_dataset(objects, "sets", files)
    if damage == "missing":
        objects.delete(f"{made.key}/a")
    else:
        objects.put(f"{made.key}/{'a' if damage == 'altered' else MANIFEST}", b"damage")
    with pytest.raises(DataError, match=r"run the step that (made|makes) it|is no manifest"):
        read_file(objects, read_manifest(objects, made.key), "a")
    assert commit_dataset(objects, "sets", files) == made
    assert [read_file(objects, read_manifest(objects, made.key), name) for name in files] == [b"1", b"2"]


def test_a_file_that_is_not_of_the_dataset_is_a_data_error(objects: ObjectStore) -> None:
    made = commit_dataset(objects, "sets", {"a": b"1"})
    with pytest.raises(DataError, match="has no file 'z'; it holds: a"):
        read_file(objects, made, "z")


def test_a_put_that_fails_leaves_the_file_before_and_no_debris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = FileObjects(tmp_path)
    objects.put("a/b", b"before")
    monkeypatch.setattr("kilter.stores.objects.os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(UnavailableError, match="cannot be written, 5 bytes: disk full: make room"):
        objects.put("a/b", b"after")
    assert objects.get("a/b") == b"before"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_a_half_written_file_is_listed_by_nobody(tmp_path: Path) -> None:
    """What a process killed inside a put leaves behind."""
    objects = FileObjects(tmp_path)
    objects.put("a/b", b"")
    (tmp_path / "a/.partial-killed").write_bytes(b"half")
    assert objects.list("a/") == ["a/b"]


def test_a_key_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="points outside the store"):
        FileObjects(tmp_path / "store").put("../secret", b"")


def test_the_uri_chooses_the_store(tmp_path: Path, bucket: str) -> None:
    assert isinstance(open_objects(f"file://{tmp_path}"), FileObjects)
    assert isinstance(open_objects(f"s3://{bucket}/prefix"), S3Objects)
    with pytest.raises(InputError, match=r"allowed are file:///folder and s3://bucket/prefix"):
        open_objects("ftp://somewhere")


def test_an_unreachable_s3_is_unavailable_soon(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        objects = S3Objects(bucket)
        for use in (objects.get, objects.exists, objects.list):
            begun = time.monotonic()
            with pytest.raises(
                UnavailableError, match=r"S3 does not answer for s3://kilter/a: .*check AWS_ENDPOINT_URL"
            ):
                use("a")
            assert time.monotonic() - begun < 15


def test_an_absent_bucket_is_unavailable_and_not_an_absent_object(bucket: str) -> None:
    with pytest.raises(UnavailableError, match=r"S3 refused .*NoSuchBucket"):
        S3Objects("no-such-bucket").get("a")


def test_what_is_written_to_scratch_is_seen_there_and_never_in_the_store_below() -> None:
    below = MemoryObjects()
    below.put("kept", b"old")
    scratch = ScratchObjects(below)
    scratch.put("kept", b"new")
    scratch.put("added", b"more")
    assert (scratch.get("kept"), scratch.list("")) == (b"new", ["added", "kept"])
    assert (below.get("kept"), below.list("")) == (b"old", ["kept"])


def test_what_is_deleted_in_scratch_stays_in_the_store_below() -> None:
    below = MemoryObjects()
    below.put("kept", b"old")
    ScratchObjects(below).delete("kept")
    assert below.get("kept") == b"old"
