"""The router: HAProxy, steered through its runtime API.

A model is a back end, a role is a server in it. Both servers have weights on one scale that sum
to 100, so a weight is a percentage of the requests. Each is there once more, without a weight, to stand in while no
server with a weight is up: the champion's first, then the canary's.
"""

from __future__ import annotations

import csv
import socket
import time
from dataclasses import dataclass
from datetime import timedelta

from kilter.errors import InputError, UnavailableError
from kilter.stores.deployment import ROLES, Role

Weights = dict[Role, int]
"""Each role's share of the requests, in percent; 100 together."""

_SECONDS = 5.0
"""How long HAProxy may take to answer; it answers within a millisecond."""

_POLL = 0.05
_STAND_INS: dict[Role, str] = {"champion": "fallback", "canary": "reserve"}


@dataclass(frozen=True)
class Counters:
    """What HAProxy counted of one server since HAProxy started.

    Args:
        requests: requests that HAProxy sent to it.
        errors: requests that it answered with 5xx or not at all, also when HAProxy then asked the
            other server. One that was broken off half-way and asked again may count twice.
        refused: requests that it answered with 4xx.
        up: whether its health check passes.
    """

    requests: int
    errors: int
    refused: int
    up: bool

    def plus(self, other: Counters) -> Counters:
        """Both servers' counts as one; up is what this one is."""
        return Counters(
            self.requests + other.requests, self.errors + other.errors, self.refused + other.refused, self.up
        )


class Router:
    """HAProxy's runtime API.

    Args:
        address: `host:port` of a `stats socket` of level admin.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise InputError(f"router '{address}': expected host:port, such as 127.0.0.1:8999: set KILTER_ROUTER")
        self.address = address
        self._socket = (host, int(port))

    def weights(self, model: str) -> Weights:
        """Each role's share of the requests in percent.

        Raises:
            InputError: HAProxy has no such back end.
            UnavailableError: HAProxy does not answer.
        """
        rows = self._rows(model)
        return {role: int(rows[role]["weight"]) for role in ROLES}

    def shift(self, model: str, canary_weight: int) -> None:
        """Send `canary_weight` percent of the requests to the canary and the rest to the champion.

        The larger share is set first, so no request finds both at nothing. HAProxy is asked
        again afterwards: when this returns, the weights hold.

        Raises:
            InputError: a weight outside 0 to 100, or HAProxy has no such back end.
            UnavailableError: HAProxy does not answer, or did not take the weights.
        """
        if not 0 <= canary_weight <= 100:
            raise InputError(f"canary weight {canary_weight} of '{model}': a percentage from 0 to 100")
        wanted: Weights = {"champion": 100 - canary_weight, "canary": canary_weight}
        largest_first = sorted(wanted.items(), key=lambda item: -item[1])
        commands = (f"set server {model}/{role} weight {weight}" for role, weight in largest_first)
        answer = self._ask("; ".join(commands)).strip()
        found = self.weights(model)
        if found != wanted:
            raise UnavailableError(
                f"HAProxy at {self.address} did not take weights {wanted} of '{model}', it has {found}: {answer}"
            )

    def counters(self, model: str) -> dict[Role, Counters]:
        """What HAProxy counted for each role; the counts only grow until HAProxy restarts.

        What one answered in place of the other, which was down, counts as its own.
        """
        rows = self._rows(model)
        return {role: _counters(rows[role]).plus(_counters(rows[_STAND_INS[role]])) for role in ROLES}

    def wait_until_up(self, model: str, role: Role, timeout: timedelta = timedelta(seconds=15)) -> None:
        """Wait until HAProxy's health check of this server passes, so that it may get requests.

        Raises:
            UnavailableError: it does not within `timeout`.
        """
        deadline = time.monotonic() + timeout.total_seconds()
        while not self.counters(model)[role].up:
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"HAProxy at {self.address} finds the {role} server of '{model}' down for "
                    f"{timeout.total_seconds():g} s: is it up, and does it hold a version?"
                )
            time.sleep(_POLL)

    def _rows(self, model: str) -> dict[str, dict[str, str]]:
        lines = self._ask("show stat").removeprefix("# ").splitlines()
        rows = {row["svname"]: row for row in csv.DictReader(lines) if row["pxname"] == model}
        missing = [name for name in (*ROLES, *_STAND_INS.values()) if name not in rows]
        if missing:
            raise InputError(
                f"HAProxy at {self.address} has no server {', '.join(missing)} for model '{model}': "
                "write its configuration again with 'kilter haproxy-config' and restart it"
            )
        return rows

    def _ask(self, command: str) -> str:
        try:
            with socket.create_connection(self._socket, timeout=_SECONDS) as connection:
                connection.sendall(f"{command}\n".encode())
                return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        except OSError as error:
            raise UnavailableError(
                f"HAProxy's runtime API at {self.address} does not answer ({error}): is HAProxy up? (KILTER_ROUTER)"
            ) from error


def _counters(server: dict[str, str]) -> Counters:
    failures = ("hrsp_5xx", "econ", "eresp", "wretr", "wredis")
    return Counters(
        requests=int(server["stot"]),
        errors=sum(int(server[name]) for name in failures),
        refused=int(server["hrsp_4xx"]),
        up=server["status"].startswith(("UP", "DRAIN")),
    )
