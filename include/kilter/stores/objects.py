"""Objects: bytes under keys, on the local disk or in S3, behind one small port.

A put is atomic: readers see the whole object or none. A *dataset* is a set of files under its own
digest, whose manifest is written last; without a manifest it does not exist.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlparse

from pydantic import BaseModel, ConfigDict, ValidationError

from kilter.errors import DataError, InputError, UnavailableError

MANIFEST = "manifest.json"
_PIECE = 1024 * 1024
"""Bytes that are read at once of an object that is opened, or whose digest is checked."""

_REPAIR = "restore the object, or run the step that made it again (in Airflow with the DAG's Param no_cache)"


class ObjectStore(Protocol):
    """Bytes under keys such as `batches/flight_delay/…`. Keys never start with a slash."""

    def put(self, key: str, data: bytes) -> None:
        """Write atomically, replacing what was there; `UnavailableError` where the store takes nothing, as a full disk."""

    def get(self, key: str) -> bytes:
        """Read; raises `DataError` when there is no such object."""

    def open(self, key: str) -> BinaryIO:
        """Open for reading and seeking, so that a part of a large object can be read; errors as of `get`.

        What is read is of one version: `UnavailableError` where S3's was replaced meanwhile.
        """

    def delete(self, key: str) -> None:
        """Remove; gone already is fine."""

    def exists(self, key: str) -> bool:
        """Whether the object is there."""

    def list(self, prefix: str) -> list[str]:
        """Keys that start with `prefix`, sorted."""

    def uri(self, key: str) -> str:
        """The object's address, for people and lineage."""


class FileObjects:
    """Objects as files below a root folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, key: str, data: bytes) -> None:
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, data)
        except OSError as error:
            raise UnavailableError(
                f"{self.uri(key)} cannot be written, {len(data)} bytes: {error.strerror or error}: make room, or let the user write there"
            ) from error

    def get(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            raise _absent(self.uri(key)) from None

    def open(self, key: str) -> BinaryIO:
        try:
            return self._path(key).open("rb")
        except (FileNotFoundError, IsADirectoryError):
            raise _absent(self.uri(key)) from None

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def list(self, prefix: str) -> list[str]:
        folder = self.root / prefix.rpartition("/")[0]
        self._path(prefix)
        keys = (path.relative_to(self.root).as_posix() for path in folder.rglob("*") if path.is_file())
        return sorted(key for key in keys if key.startswith(prefix) and "/.partial-" not in key)

    def uri(self, key: str) -> str:
        return f"file://{self.root}/{key}"

    def _path(self, key: str) -> Path:
        path = (self.root / key).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise InputError(f"object key '{key}' points outside the store {self.root}: use a plain key")
        return path


def _write(path: Path, data: bytes) -> None:
    """Beside it and renamed, so that nobody sees a half; on a fault nothing is left."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class S3Objects:
    """Objects in an S3 bucket. Endpoint and credentials come from boto3's own configuration."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        import boto3
        from botocore.config import Config

        self.bucket = bucket
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._client: Any = boto3.client(
            "s3", config=Config(connect_timeout=5, read_timeout=60, retries={"max_attempts": 3})
        )

    def put(self, key: str, data: bytes) -> None:
        with self._faults(key):
            self._client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=data)

    def get(self, key: str) -> bytes:
        with self._faults(key):
            body: bytes = self._client.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"].read()
            return body

    def open(self, key: str) -> BinaryIO:
        with self._faults(key):
            head = self._client.head_object(Bucket=self.bucket, Key=self.prefix + key)
        parts = _Ranges(head["ContentLength"], lambda first, last: self._part(key, head["ETag"], first, last))
        return io.BufferedReader(parts, _PIECE)

    def _part(self, key: str, version: str, first: int, last: int) -> bytes:
        with self._faults(key):
            found = self._client.get_object(
                Bucket=self.bucket, Key=self.prefix + key, IfMatch=version, Range=f"bytes={first}-{last}"
            )
            part: bytes = found["Body"].read()
            return part

    def delete(self, key: str) -> None:
        with self._faults(key):
            self._client.delete_object(Bucket=self.bucket, Key=self.prefix + key)

    def exists(self, key: str) -> bool:
        try:
            with self._faults(key):
                self._client.head_object(Bucket=self.bucket, Key=self.prefix + key)
        except DataError:
            return False
        return True

    def list(self, prefix: str) -> list[str]:
        with self._faults(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return sorted(key.removeprefix(self.prefix) for key in keys)

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{self.prefix}{key}"

    @contextmanager
    def _faults(self, key: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in {"NoSuchKey", "404", "NotFound"}:
                raise _absent(self.uri(key)) from None
            if code in {"PreconditionFailed", "412"}:
                raise UnavailableError(f"{self.uri(key)} was replaced while it was read: try again") from None
            raise UnavailableError(
                f"S3 refused {self.uri(key)}: {error}: check the bucket, the credentials and AWS_ENDPOINT_URL"
            ) from error
        except BotoCoreError as error:
            raise UnavailableError(
                f"S3 does not answer for {self.uri(key)}: {error}: check AWS_ENDPOINT_URL and the network"
            ) from error


class _Ranges(io.RawIOBase):
    """An object of known size that is read by ranges of bytes, both ends included."""

    def __init__(self, size: int, read: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._read = read
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        part = self._read(self._at, self._at + wanted - 1)
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


class MemoryObjects:
    """Objects in a dictionary: the fake for tests."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    def put(self, key: str, data: bytes) -> None:
        self._objects[key] = data

    def get(self, key: str) -> bytes:
        try:
            return self._objects[key]
        except KeyError:
            raise _absent(self.uri(key)) from None

    def open(self, key: str) -> BinaryIO:
        return io.BytesIO(self.get(key))

    def delete(self, key: str) -> None:
        self._objects.pop(key, None)

    def exists(self, key: str) -> bool:
        return key in self._objects

    def list(self, prefix: str) -> list[str]:
        return sorted(key for key in self._objects if key.startswith(prefix))

    def uri(self, key: str) -> str:
        return f"memory://{key}"


class ScratchObjects:
    """Reads from a store and writes to memory: whatever is done through it leaves no trace in the store.

    What was written through it may be deleted again, and nothing else.
    """

    def __init__(self, base: ObjectStore) -> None:
        self._base = base
        self._written = MemoryObjects()

    def put(self, key: str, data: bytes) -> None:
        self._written.put(key, data)

    def get(self, key: str) -> bytes:
        return self._holder(key).get(key)

    def open(self, key: str) -> BinaryIO:
        return self._holder(key).open(key)

    def delete(self, key: str) -> None:
        self._written.delete(key)

    def _holder(self, key: str) -> ObjectStore:
        return self._written if self._written.exists(key) else self._base

    def exists(self, key: str) -> bool:
        return self._written.exists(key) or self._base.exists(key)

    def list(self, prefix: str) -> list[str]:
        return sorted({*self._written.list(prefix), *self._base.list(prefix)})

    def uri(self, key: str) -> str:
        return self._base.uri(key)


def matching(objects: ObjectStore, pattern: str) -> list[str]:
    """Keys that match a glob, sorted; `*` also matches slashes."""
    literal = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return [key for key in objects.list(literal) if fnmatchcase(key, pattern)]


def _absent(uri: str) -> DataError:
    return DataError(f"no object at {uri}: it was never committed, or was removed; run the step that makes it")


def open_objects(uri: str) -> ObjectStore:
    """Open `file:///folder` or `s3://bucket/prefix`.

    Raises:
        InputError: another scheme.
    """
    parts = urlparse(uri)
    if parts.scheme == "file":
        return FileObjects(Path(parts.path))
    if parts.scheme == "s3":
        return S3Objects(parts.netloc, parts.path)
    raise InputError(f"object store '{uri}': allowed are file:///folder and s3://bucket/prefix: set KILTER_OBJECTS")


class Manifest(BaseModel):
    """What a dataset holds: its key prefix, its digest, and the SHA-256 of each file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    digest: str
    files: dict[str, str]
    facts: dict[str, Any]


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def commit_dataset(
    objects: ObjectStore, prefix: str, files: Mapping[str, bytes], facts: Mapping[str, Any] | None = None
) -> Manifest:
    """Write `files` under `prefix/<digest>/`, the manifest last, and return it.

    The digest covers names and contents of the files and the facts, so equal content gives an
    equal key, and committing twice changes nothing. What is missing or was altered since is written anew.
    """
    digests = {name: sha256(files[name]) for name in sorted(files)}
    content = Manifest(key="", digest="", files=digests, facts=dict(facts or {}))
    digest = _digest_of(content)
    manifest = content.model_copy(update={"key": f"{prefix}/{digest}", "digest": digest})
    content_of = {**files, MANIFEST: manifest.model_dump_json(indent=1).encode()}
    committed = objects.exists(f"{manifest.key}/{MANIFEST}")
    for name, data in content_of.items():
        key = f"{manifest.key}/{name}"
        if not (committed and objects.exists(key) and objects.get(key) == data):
            objects.put(key, data)
    return manifest


def read_manifest(objects: ObjectStore, key: str) -> Manifest:
    """Read the manifest of a committed dataset.

    Raises:
        DataError: it was never committed, or is not what was committed under this digest.
    """
    data = objects.get(f"{key}/{MANIFEST}")
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise DataError(f"{objects.uri(key)}/{MANIFEST} is no manifest: {error}: restore the object") from None
    if manifest.key != key or manifest.digest != _digest_of(manifest) or not key.endswith(f"/{manifest.digest}"):
        raise DataError(
            f"{objects.uri(key)}/{MANIFEST} was altered: its content has digest {_digest_of(manifest)}, it says "
            f"{manifest.digest}: {_REPAIR}"
        )
    return manifest


def _digest_of(manifest: Manifest) -> str:
    """Digest over names and contents of the files and the facts, wherever they lie."""
    content = manifest.model_copy(update={"key": "", "digest": ""})
    return sha256(content.model_dump_json().encode())


def read_file(objects: ObjectStore, manifest: Manifest, name: str) -> bytes:
    """Read one file of a dataset, checked against its digest.

    Raises:
        DataError: the file is not of this dataset, or its bytes are not those committed.
    """
    if name not in manifest.files:
        raise _no_file(objects, manifest, name)
    data = objects.get(f"{manifest.key}/{name}")
    if (found := sha256(data)) != manifest.files[name]:
        raise _altered(objects, manifest, name, found)
    return data


def open_file(objects: ObjectStore, manifest: Manifest, name: str) -> BinaryIO:
    """Open one file of a dataset that may be larger than memory, once its bytes were checked against their digest.

    Raises:
        DataError: as of `read_file`.
    """
    if name not in manifest.files:
        raise _no_file(objects, manifest, name)
    file = objects.open(f"{manifest.key}/{name}")
    if (found := digest_of(file)) != manifest.files[name]:
        file.close()
        raise _altered(objects, manifest, name, found)
    return file


def digest_of(file: BinaryIO) -> str:
    """Hexadecimal SHA-256 of an open file that may be larger than memory; it is then at its start."""
    digest = hashlib.sha256()
    while piece := file.read(_PIECE):
        digest.update(piece)
    file.seek(0)
    return digest.hexdigest()


def _no_file(objects: ObjectStore, manifest: Manifest, name: str) -> DataError:
    return DataError(f"dataset {objects.uri(manifest.key)} has no file '{name}'; it holds: {', '.join(manifest.files)}")


def _altered(objects: ObjectStore, manifest: Manifest, name: str, found: str) -> DataError:
    return DataError(
        f"{objects.uri(manifest.key)}/{name} was altered: sha256 {found}, committed {manifest.files[name]}: {_REPAIR}"
    )
