"""GPUs lent to steps: each device of a host to one step at a time, for as long as its container or process lives.

Docker gives the same first GPU to everybody who asks for one, and Airflow's pool `gpu` only counts. So the ledger leases
devices by name.

    take ──► create ──► confirm ──► start … renewed by a thread … end ──► give back
                                       └── the worker dies: nobody renews; whoever waits for the device looks for the
                                           container and extends the lease of one that lives, frees that of any other
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from logging import Logger
from typing import TYPE_CHECKING, Protocol

from kilter.devices import visible_gpus
from kilter.errors import DeviceError, KilterError, UnavailableError
from kilter_airflow.settings import RuntimeSettings

if TYPE_CHECKING:
    from kilter.stores.leases import Leases

LEASE = timedelta(minutes=1)
"""How long a lease holds that nobody renews."""
RENEWED_EVERY = LEASE / 4
POLL_SECONDS = 1.0
"""Between two looks for a free GPU."""


class Host(Protocol):
    """Where steps run: a container engine, or a machine with its processes."""

    words: str
    """What it is called in messages."""

    def identity(self) -> str:
        """What names it to all workers that start steps there, and to no other."""

    def holds(self, owner: str) -> bool:
        """Whether a step of this owner may be using its GPUs: its container or process is there and has not ended."""


class GpuLender:
    """Lends the GPUs of one host to one step, whatever else runs there.

    The devices are those of KILTER_GPUS, else all that nvidia-smi shows. All workers of a host must name them alike.
    """

    def __init__(self, host: Host, settings: RuntimeSettings, log: Logger) -> None:
        self._host = host
        self._settings = settings
        self._log = log
        self._stopped = False

    @contextmanager
    def lent(self, owner: str, count: int) -> Iterator[tuple[str, ...]]:
        """So many GPUs for this owner, waited for while others have them; none when `count` is 0.

        Raises:
            DeviceError: the host has fewer.
            UnavailableError: the task was killed while it waited; or the ledger does not answer.
        """
        if not count:
            yield ()
            return
        if len(self._devices) < count:
            asked = "a GPU was" if count == 1 else f"{count} GPUs were"
            raise DeviceError(
                f"{asked} asked for (resources.gpu in model.yaml) and {self._host.words} has "
                f"{', '.join(self._devices) or 'none'}: run it where there are as many, name them in KILTER_GPUS where "
                "the worker's nvidia-smi does not show them, or set resources.fallback: cpu"
            )
        devices = self._wait(owner, count)
        with self.renewed(owner):
            yield devices

    @contextmanager
    def renewed(self, owner: str) -> Iterator[None]:
        """Renew what the owner has; at the end give it back, unless its step lives on."""
        ended = threading.Event()
        thread = threading.Thread(target=self._renew, args=(owner, ended), name="gpu-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.give_back(owner)

    def confirm(self, owner: str, count: int) -> None:
        """Make sure of the lease once the step can be found by others and before it uses a GPU.

        Before, whoever found the lease expired (this worker stood still) may have freed and taken it; from here on they
        find the step.

        Raises:
            UnavailableError: the lease was lost.
        """
        if self._leases.renew(owner, LEASE) < count:
            raise UnavailableError(f"the lease of {owner} expired before its step began, as this worker stood still")

    def give_back(self, owner: str) -> None:
        """End the owner's lease, unless its step still runs. A ledger that is away keeps it until it expires."""
        try:
            if not self._host.holds(owner):
                self._leases.release(owner)
        except KilterError as error:
            self._log.warning("GPUs are not given back, their lease expires within %s: %s", LEASE, error)

    def stop(self) -> None:
        """End the waiting for a GPU; called from a signal handler, so it takes no lock."""
        self._stopped = True

    @cached_property
    def _leases(self) -> Leases:
        from kilter.stores.leases import Leases
        from kilter.stores.ledger import Ledger

        return Leases(Ledger(self._settings.stores.ledger), self._host.identity())

    @cached_property
    def _devices(self) -> tuple[str, ...]:
        return self._settings.gpus or tuple(gpu.uuid for gpu in visible_gpus())

    def _wait(self, owner: str, count: int) -> tuple[str, ...]:
        told = ""
        while not self._stopped:
            self._look_for_owners()
            if devices := self._leases.take(self._devices, count, owner, LEASE):
                self._log.info("GPU %s of %s leased", ", ".join(devices), self._host.words)
                return devices
            holders = "; ".join(f"{lease['device']} is held by {lease['owner']}" for lease in self._leases.held())
            if holders != told:
                self._log.info("waiting for %d of %d GPUs: %s", count, len(self._devices), holders)
                told = holders
            time.sleep(POLL_SECONDS)
        raise UnavailableError("the task was killed while it waited for a GPU")

    def _look_for_owners(self) -> None:
        """Extend expired leases whose step lives on unwatched, free those of steps that are gone."""
        for lease in self._leases.expired():
            if self._host.holds(lease["owner"]):
                self._leases.renew(lease["owner"], LEASE)
            else:
                self._leases.free(lease)

    def _renew(self, owner: str, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                self._leases.renew(owner, LEASE)
            except KilterError as error:
                self._log.warning("the GPU lease is not renewed, tried again soon: %s", error)
            ended.wait(RENEWED_EVERY.total_seconds())
