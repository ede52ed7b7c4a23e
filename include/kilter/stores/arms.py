"""Both arms of a canary, measured: requests, errors and refusals by the router, answers by the model servers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kilter.core.canary import Arm, Look, Vector
from kilter.errors import UnavailableError
from kilter.stores.deployment import ROLES, Role
from kilter.stores.router import Counters, Router
from kilter.stores.servers import NO_ANSWER, NONE, Answer, Answers, Copy, Servers


@dataclass(frozen=True)
class Seen:
    """A look at both arms, and whether the canary's server passes its health check."""

    look: Look
    up: bool


_OK = 200
_SECONDS = 1.0


class Observer:
    """Looks at both arms, from its making on.

    Counters that fall were reset by a restart: what they show is then all new. A server that does
    not answer shows no answers; its failed requests are the router's to count.
    """

    def __init__(self, router: Router, servers: Servers, model: str) -> None:
        self._router = router
        self._servers = servers
        self._model = model
        self._counters = router.counters(model)
        self._answers: dict[Role, Answers | None] = {role: self._ask(role, NONE) for role in ROLES}

    def look(self) -> Seen:
        """What both arms did since the last look.

        Raises:
            UnavailableError: the router does not answer.
        """
        before, self._counters = self._counters, self._router.counters(self._model)
        arms = {role: self._arm(role, before[role]) for role in ROLES}
        return Seen(Look(arms["champion"], arms["canary"]), self._counters["canary"].up)

    def _arm(self, role: Role, before: Counters) -> Arm:
        requests, errors, refused = _grown(before, self._counters[role])
        answers = np.array(self._new_answers(role), dtype=np.float64).reshape(-1, 2)
        return Arm(requests, errors, refused, seconds=answers[:, 0], scores=answers[:, 1])

    def _new_answers(self, role: Role) -> list[tuple[float, float]]:
        last = self._answers[role]
        now = self._ask(role, last.requests if last else 0)
        if now is None:
            # A silent server keeps its last reading, so that what it says next is compared with that.
            return []
        if last and (now.digest != last.digest or now.requests < last.requests):
            now = self._ask(role, 0) or now
        self._answers[role] = now
        return list(now.newest) if last else []

    def _ask(self, role: Role, after: int) -> Answers | None:
        try:
            return self._servers.answers(role, self._model, after)
        except UnavailableError:
            return None


class Mirror:
    """Sends copies of the requests that one role answers to the other, and looks at both answers.

    Users see nothing of it. It copies one after the other, for a second a look: of a busy server it is a sample.

    Args:
        source: the role that users ask.
    """

    def __init__(self, servers: Servers, model: str, source: Role) -> None:
        self._servers = servers
        self._model = model
        self._source = source
        self._target: Role = "canary" if source == "champion" else "champion"
        self._kept = 0
        self._left: list[float] = []
        self._random = np.random.default_rng(0)
        self._new()

    def look(self) -> Look:
        """Both arms on the same requests since the last look; nothing while the source does not answer.

        Seconds are those of the same request. Scores are never those of the same request, but of two drawn at random: a
        score that differs from the other's by a hair on every request is no shift.
        """
        pairs = self._ask_again()
        both = [(first, second) for first, second in pairs if first.status == second.status == _OK]
        sources, targets = self._scores(both)
        source = _arm([first for first, _ in pairs], [first for first, _ in both], sources)
        target = _arm([second for _, second in pairs], [second for _, second in both], targets)
        return Look(source, target) if self._source == "champion" else Look(target, source)

    def _ask_again(self) -> list[tuple[Answer, Answer]]:
        """Both answers to each new request, for about a second; a target that does not answer is not waited for again."""
        pairs: list[tuple[Answer, Answer]] = []
        deadline = time.monotonic() + _SECONDS
        for copy in self._new():
            answer = self._servers.repeat(self._target, copy)
            pairs.append((copy.answer, answer))
            if answer.status == NO_ANSWER or time.monotonic() > deadline:
                break
        return pairs

    def _scores(self, both: Sequence[tuple[Answer, Answer]]) -> tuple[Vector, Vector]:
        """Scores of the source beside scores of the target for other requests, in an order drawn at random.

        The target's last one waits for the next look, so that a single request has another to be compared with.
        """
        order = self._random.permutation(len(both))
        sources = [both[place][0].score for place in order]
        targets = [*self._left, *(both[place][1].score for place in order)]
        self._left = targets[-1:]
        # The first source meets what was left, each other one the target's score for the request drawn before its own.
        skipped = len(sources) + 1 - len(targets)
        return np.array(sources[skipped:]), np.array(targets[:-1])

    def _new(self) -> list[Copy]:
        try:
            kept, copies = self._servers.copies(self._source, self._model, self._kept)
        except UnavailableError:
            return []
        # A server that restarted counts anew.
        self._kept = kept
        return copies


def _arm(asked: Sequence[Answer], compared: Sequence[Answer], scores: Vector) -> Arm:
    return Arm(
        requests=len(asked),
        errors=sum(answer.status >= 500 for answer in asked),
        refused=sum(400 <= answer.status < 500 for answer in asked),
        seconds=np.array([answer.seconds for answer in compared]),
        scores=scores,
    )


def _grown(before: Counters, after: Counters) -> tuple[int, int, int]:
    """Requests, errors and refusals since `before`."""
    then, now = ((item.requests, item.errors, item.refused) for item in (before, after))
    if any(new < old for new, old in zip(now, then, strict=True)):
        return now
    return now[0] - then[0], now[1] - then[1], now[2] - then[2]
