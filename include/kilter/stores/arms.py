"""Both arms of a canary, measured: requests, errors and refusals by the router, latency by the model servers.

HAProxy knows its answer times only as a rolling mean in whole milliseconds, which mixes in requests
from before; the servers keep sums, which can be subtracted.
"""

from __future__ import annotations

from dataclasses import dataclass

from kilter.core.canary import Arm
from kilter.errors import UnavailableError
from kilter.stores.deployment import ROLES, Role
from kilter.stores.router import Counters, Router
from kilter.stores.servers import Served, Servers


@dataclass(frozen=True)
class _Reading:
    router: dict[Role, Counters]
    servers: dict[Role, Served | None]


class Observer:
    """Measures both arms from its making on.

    Counters that fall were reset by a restart: what they show is then all new. A server that does
    not answer adds no latency; its failed requests are the router's to count.
    """

    def __init__(self, router: Router, servers: Servers, model: str) -> None:
        self._router = router
        self._servers = servers
        self._model = model
        self._last = self._read()
        self._arms: dict[Role, Arm] = {role: Arm() for role in ROLES}

    def observe(self) -> dict[Role, Arm]:
        """Read the counters, and return what each arm did since the observer was made.

        Raises:
            UnavailableError: the router does not answer.
        """
        now = self._read()
        for role in ROLES:
            arm = self._arms[role]
            requests, errors, refused = _grown(self._last.router[role], now.router[role])
            answered, seconds = _served(self._last.servers[role], now.servers[role])
            self._arms[role] = Arm(
                requests=arm.requests + requests,
                errors=arm.errors + errors,
                refused=arm.refused + refused,
                answered=arm.answered + answered,
                seconds=arm.seconds + seconds,
                up=now.router[role].up,
            )
        # A silent server keeps its last reading, so that what it says next is compared with that.
        servers = {role: now.servers[role] or self._last.servers[role] for role in ROLES}
        self._last = _Reading(now.router, servers)
        return dict(self._arms)

    def _read(self) -> _Reading:
        return _Reading(self._router.counters(self._model), {role: self._ask(role) for role in ROLES})

    def _ask(self, role: Role) -> Served | None:
        try:
            return self._servers.served(role, self._model)
        except UnavailableError:
            return None


def _grown(before: Counters, after: Counters) -> tuple[int, int, int]:
    """Requests, errors and refusals since `before`."""
    then, now = ((item.requests, item.errors, item.refused) for item in (before, after))
    if any(new < old for new, old in zip(now, then, strict=True)):
        return now
    return now[0] - then[0], now[1] - then[1], now[2] - then[2]


def _served(before: Served | None, after: Served | None) -> tuple[int, float]:
    if after is None:
        return 0, 0.0
    if before is None or before.digest != after.digest or after.requests < before.requests:
        return after.requests, after.seconds
    return after.requests - before.requests, after.seconds - before.seconds
