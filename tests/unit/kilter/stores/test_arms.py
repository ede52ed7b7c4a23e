"""Counters and answers become looks at both arms, also when something restarts in between."""

from __future__ import annotations

from collections.abc import Callable

from kilter.core.canary import Arm
from kilter.errors import UnavailableError
from kilter.stores.arms import Observer
from kilter.stores.router import Counters
from kilter.stores.servers import Answers


class Scripted:
    """A router, and a canary server that says what the test wants; the champion's is silent."""

    def __init__(self) -> None:
        self.requests, self.errors, self.refused = 1000, 5, 20
        self.silent = False
        self.digest = "new"
        self.answered = [(0.1, 0.5)] * 100

    def counters(self, model: str) -> dict[str, Counters]:
        return {
            "champion": Counters(requests=0, errors=0, refused=0, up=True),
            "canary": Counters(self.requests, self.errors, self.refused, up=True),
        }

    def answers(self, role: str, model: str, after: int) -> Answers:
        if role == "champion" or self.silent:
            raise UnavailableError("silent")
        return Answers(self.digest, len(self.answered), self.answered[after:])


def looks(*changes: Callable[[Scripted], object]) -> list[Arm]:
    """The canary's arm at a look after each change."""
    scripted = Scripted()
    observer = Observer(scripted, scripted, "flight_delay")  # type: ignore[arg-type]
    arms = []
    for change in changes:
        change(scripted)
        arms.append(observer.look().look.canary)
    return arms


def more(requests: int, errors: int = 0, refused: int = 0, *answers: tuple[float, float]) -> Callable[[Scripted], None]:
    def change(scripted: Scripted) -> None:
        scripted.requests += requests
        scripted.errors += errors
        scripted.refused += refused
        scripted.answered = [*scripted.answered, *answers]

    return change


def test_a_look_shows_what_happened_since_the_one_before() -> None:
    first, second = looks(more(10, 1, 2, (0.2, 0.7), (0.3, 0.8)), more(3, 0, 0, (0.4, 0.9)))
    assert (first.requests, first.errors, first.refused) == (10, 1, 2)
    assert (first.seconds.tolist(), first.scores.tolist()) == ([0.2, 0.3], [0.7, 0.8])
    assert (second.requests, second.errors, second.seconds.tolist()) == (3, 0, [0.4])


def test_counters_that_fall_were_reset_and_are_all_new() -> None:
    def restart(scripted: Scripted) -> None:
        scripted.requests, scripted.errors, scripted.refused = 7, 0, 0

    (arm,) = looks(restart)
    assert (arm.requests, arm.errors, arm.refused) == (7, 0, 0)


def test_a_server_that_restarted_or_holds_another_version_shows_all_its_answers() -> None:
    def restart(scripted: Scripted) -> None:
        scripted.answered = [(0.9, 0.1)]

    def swap(scripted: Scripted) -> None:
        scripted.digest, scripted.answered = "other", [(0.8, 0.2)] * 200

    assert [arm.seconds.tolist() for arm in looks(restart, swap)] == [[0.9], [0.8] * 200]


def test_a_silent_server_shows_nothing_and_what_it_answered_meanwhile_comes_later() -> None:
    def silence(scripted: Scripted) -> None:
        more(1, 0, 0, (0.2, 0.5))(scripted)
        scripted.silent = True

    def speak(scripted: Scripted) -> None:
        more(1, 0, 0, (0.3, 0.5))(scripted)
        scripted.silent = False

    first, second = looks(silence, speak)
    assert (first.requests, first.seconds.tolist()) == (1, [])
    assert (second.requests, second.seconds.tolist()) == (1, [0.2, 0.3])
