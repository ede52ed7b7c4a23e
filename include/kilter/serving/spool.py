"""The spool: what was logged and is not in the object store yet, in files that outlive the process.

A *segment* is an append-only file of frames: length, CRC-32 and rows of a payload, and the payload. The one that is
written to is `<number>.open`; closed it is `<number>.segment`, numbers growing with time. What a process that was killed
left open is closed by the next one; a frame that is cut short, or altered, ends its segment.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
import zlib
from pathlib import Path

from kilter.errors import UnavailableError

ROLL_BYTES = 2 * 1024 * 1024
"""How long it grows at most, and one frame."""
_HEAD = struct.Struct("<III")
_OPEN, _CLOSED, _DAMAGED = ".open", ".segment", ".damaged"


def read(path: Path) -> tuple[list[bytes], int]:
    """The payloads of a segment up to the first that is cut short or altered, and how many bytes are left from there."""
    payloads: list[bytes] = []
    data, at = path.read_bytes(), 0
    while at + _HEAD.size <= len(data):
        length, checksum, _ = _HEAD.unpack_from(data, at)
        payload = data[at + _HEAD.size : at + _HEAD.size + length]
        if not payload or len(payload) < length or zlib.crc32(payload) != checksum:
            break
        payloads.append(payload)
        at += _HEAD.size + length
    return payloads, len(data) - at


class Spool:
    """The segments of one server, which alone writes to their folder.

    Nothing is written to the disk before `take`. Methods raise OSError where the file system does. One thread appends,
    rolls and sheds; another may read and remove what is closed.

    Args:
        folder: made when it is not there.
        limit: bytes of closed segments that are kept; beyond, the oldest are deleted.
        seconds: how long a segment is written to.
    """

    def __init__(self, folder: Path, limit: int, seconds: float = 1.0) -> None:
        self.folder = folder
        self._limit = limit
        self._seconds = seconds
        self._lock: int | None = None
        self._file: int | None = None
        self._path = folder
        self._size = self._rows = 0
        self._opened = 0.0
        self._closed: dict[Path, tuple[int, int]] = {}
        """Of each closed segment, oldest first, its rows and its bytes."""
        self._settled: set[Path] = set()

    @property
    def rows(self) -> int:
        """Rows in all segments."""
        return self._rows + sum(rows for rows, _ in list(self._closed.values()))

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return self._size + sum(size for _, size in list(self._closed.values()))

    @property
    def taken(self) -> bool:
        """Whether the folder is this process's."""
        return self._lock is not None

    def take(self) -> None:
        """Make the folder this process's own, and close what an earlier one left open.

        Raises:
            UnavailableError: another process has it.
            OSError: it cannot be made or written to.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise UnavailableError(
                f"spool {self.folder} is another server's: wait until that has ended, or give each a KILTER_SPOOL of its own"
            ) from None
        self._lock = lock
        for left in self.folder.glob(f"*{_OPEN}"):
            left.rename(left.with_suffix(_CLOSED))
        self._closed = {path: _measure(path) for path in sorted(self.folder.glob(f"*{_CLOSED}"))}

    def append(self, payload: bytes, rows: int) -> None:
        """Write a frame. Where that fails, the segment stays as it was."""
        if self._file is None:
            self._open()
        assert self._file is not None
        data = _HEAD.pack(len(payload), zlib.crc32(payload), rows) + payload
        written = 0
        # At a place and not at the end: what was written of a frame that failed is overwritten by the next.
        while written < len(data):
            written += os.pwrite(self._file, data[written:], self._size + written)
        self._size += len(data)
        self._rows += rows

    def roll(self, now: bool = False) -> bool:
        """Close the segment if it is old or long enough, or `now`; return whether it was closed."""
        if self._file is None:
            return False
        if not now and self._size < ROLL_BYTES and time.monotonic() - self._opened < self._seconds:
            return False
        file, self._file = self._file, None
        closed = self._path.with_suffix(_CLOSED)
        try:
            os.ftruncate(file, self._size)
        finally:
            os.close(file)
            self._path.rename(closed)
            self._closed[closed] = (self._rows, self._size)
            self._size = self._rows = 0
        return True

    def settle(self) -> None:
        """Have the disk keep what is closed, whatever becomes of the machine; for segments that have to wait.

        Not done where they are closed: a disk that takes seconds for it would keep the next answers in memory as long.
        """
        for path in [path for path in list(self._closed) if path not in self._settled]:
            with path.open("rb") as file:
                os.fsync(file.fileno())
            self._settled.add(path)

    def oldest(self) -> Path | None:
        """The closed segment that was closed first."""
        return next(iter(list(self._closed)), None)

    def remove(self, path: Path) -> int:
        """Delete a closed segment; return its rows."""
        path.unlink(missing_ok=True)
        return self._forget(path)

    def set_aside(self, path: Path) -> int:
        """Keep a closed segment that cannot be read under another name, for a person to see; return its rows."""
        path.rename(path.with_suffix(_DAMAGED))
        return self._forget(path)

    def shed(self, spared: Path | None = None) -> int:
        """Delete the oldest closed segments beyond the limit, but not the one that is read now; return their rows."""
        dropped = 0
        for path in [path for path in list(self._closed) if path != spared]:
            if self.size <= self._limit:
                break
            dropped += self.remove(path)
        return dropped

    def release(self) -> None:
        """Give the folder back; nothing must be open."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _forget(self, path: Path) -> int:
        self._settled.discard(path)
        return self._closed.pop(path, (0, 0))[0]

    def _open(self) -> None:
        # A clock that was set back must not bring up a number again.
        number = time.time_ns()
        while (path := self.folder / f"{number:020d}{_OPEN}").exists() or path.with_suffix(_CLOSED).exists():
            number += 1
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._path, self._opened = path, time.monotonic()


def _measure(path: Path) -> tuple[int, int]:
    """Rows and bytes of a segment, by the heads of its frames alone."""
    rows = 0
    size = path.stat().st_size
    with path.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            length, _, count = _HEAD.unpack(head)
            if length == 0 or file.tell() + length > size:
                break
            rows += count
            file.seek(length, os.SEEK_CUR)
    return rows, size
