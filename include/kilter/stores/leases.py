"""Leases of GPUs in the ledger: a device of a host has one owner at a time.

A lease that has expired is still a lease: it ends when its owner gives it back, or when somebody who has looked for the
owner and found nobody frees it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError

from kilter.stores.ledger import Ledger, gpu_leases


class Leases:
    """The leases of one host's devices.

    Args:
        host: what names the host to all who take its devices, and no other host.
    """

    def __init__(self, ledger: Ledger, host: str) -> None:
        self._ledger = ledger
        self._host = host

    def take(self, devices: Collection[str], count: int, owner: str, within: timedelta) -> tuple[str, ...]:
        """Lease so many of these devices to an owner: all of them, or none while too few are free.

        Of any number who take at once, the database's unique constraint lets one have a device. All insert their
        rows in the same order, so that no two wait for each other.

        Args:
            within: how long it holds unless it is renewed.

        Returns:
            The devices, sorted; empty when too few are free.
        """
        while len(free := sorted(set(devices) - {row["device"] for row in self.held()})) >= count:
            now = datetime.now(UTC)
            common = {"host": self._host, "owner": owner, "leased_at": now, "expires_at": now + within}
            try:
                with self._ledger.transaction() as connection:
                    connection.execute(insert(gpu_leases), [{"device": device, **common} for device in free[:count]])
            except IntegrityError:
                continue  # somebody was faster: look again
            return tuple(free[:count])
        return ()

    def renew(self, owner: str, within: timedelta) -> int:
        """Let an owner's leases hold from now on; return how many it has."""
        mine = update(gpu_leases).where(gpu_leases.c.host == self._host, gpu_leases.c.owner == owner)
        with self._ledger.transaction() as connection:
            return connection.execute(mine.values(expires_at=datetime.now(UTC) + within)).rowcount

    def release(self, owner: str) -> None:
        """End an owner's leases; fine when it has none."""
        with self._ledger.transaction() as connection:
            mine = delete(gpu_leases).where(gpu_leases.c.host == self._host, gpu_leases.c.owner == owner)
            connection.execute(mine)

    def free(self, lease: RowMapping) -> None:
        """End a lease as it was read; one that was renewed since stays."""
        same = (gpu_leases.c.id == lease["id"], gpu_leases.c.expires_at == lease["expires_at"])
        with self._ledger.transaction() as connection:
            connection.execute(delete(gpu_leases).where(*same))

    def held(self) -> Sequence[RowMapping]:
        """All leases, by device."""
        query = select(gpu_leases).where(gpu_leases.c.host == self._host).order_by(gpu_leases.c.device)
        with self._ledger.transaction() as connection:
            return connection.execute(query).mappings().all()

    def expired(self) -> Sequence[RowMapping]:
        """Leases that were not renewed in time."""
        now = datetime.now(UTC)
        return [lease for lease in self.held() if lease["expires_at"] <= now]
