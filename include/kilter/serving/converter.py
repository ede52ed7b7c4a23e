"""The process that makes Parquet of segments (`kilter.serving.log_table`), as the server sees it.

In a process of its own it takes nothing from the answers: in a thread it would hold the interpreter for milliseconds.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from kilter.errors import DataError, UnavailableError

_PATIENCE_SECONDS = 60
"""How long one segment may take; a second is a lot."""


class Converted(NamedTuple):
    """A segment as objects to write.

    Args:
        rows: in all objects.
        cut: bytes of the segment that were torn.
        objects: the content of each, by its key.
    """

    rows: int
    cut: int
    objects: dict[str, bytes]


class Converter:
    """Starts the process with the first segment, and again when it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def convert(self, segment: Path) -> Converted:
        """What a segment holds.

        Raises:
            DataError: it holds something else than records.
            UnavailableError: the process died or got stuck; it will be started again.
            OSError: no process can be started.
        """
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(f"{segment}\n".encode())
            process.stdin.flush()
        converted = _answer(process.stdout, segment)
        if converted is None:
            self.stop()
            raise UnavailableError(
                f"the process that converts segments ended with {process.returncode} at {segment}: it is started again"
            )
        return converted

    def stop(self) -> None:
        """End the process, whatever it is at: nothing is lost but its work."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kilter.serving.log_table"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # What ends the server's process group must not end this one before the last segment.
                start_new_session=True,
            )
        return self._process


def _answer(output: IO[bytes], segment: Path) -> Converted | None:
    """The process's answer; None when it died, or does not answer."""
    if not select.select([output], [], [], _PATIENCE_SECONDS)[0] or not (line := output.readline()):
        return None
    answer = json.loads(line)
    if "error" in answer:
        raise DataError(f"segment {segment} cannot be read: {answer['error']}: keep it for whoever maintains Kilter")
    objects = {key: output.read(size) for key, size in answer["objects"]}
    if any(len(objects[key]) < size for key, size in answer["objects"]):
        return None
    return Converted(answer["rows"], answer["cut"], objects)
