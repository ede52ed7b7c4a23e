"""Several processes for one training, a device each, started as `torchrun` starts them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

_SIGNALLED = 128
"""A shell's exit code of a process that a signal ended is so much more than the signal's number."""


def launch(arguments: Sequence[str], count: int) -> int:
    """Run `python -m kilter` with these arguments in `count` processes; returns the exit code of the first that failed, or 0.

    When one fails the others are ended. SIGTERM ends them all, too.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    torchrun: Any = importlib.import_module("torch.distributed.run")
    options = ["--standalone", "--local-addr", "localhost", "--nproc-per-node", str(count)]
    try:
        torchrun.run(torchrun.parse_args([*options, "-m", "kilter", *arguments]))
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        return code if code > 0 else _SIGNALLED - code
    except SignalException as error:
        return _SIGNALLED + int(error.sigval)
    return 0
