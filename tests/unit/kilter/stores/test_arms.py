"""Counters become arms, also when something restarts in between."""

from kilter.core.canary import Arm
from kilter.errors import UnavailableError
from kilter.stores.arms import Observer
from kilter.stores.router import Counters
from kilter.stores.servers import Served


class Scripted:
    """A router and both servers that say what the test wants."""

    def __init__(self):
        self.requests, self.errors, self.refused = 1000, 5, 20
        self.answer = Served("new", 100, 1.0)

    def counters(self, model):
        return {
            "champion": Counters(requests=0, errors=0, refused=0, up=True),
            "canary": Counters(self.requests, self.errors, self.refused, up=True),
        }

    def served(self, role, model):
        if role == "champion" or self.answer is None:
            raise UnavailableError("silent")
        return self.answer


def observed(changes):
    """The canary's arm after each change of the scripted counters."""
    scripted = Scripted()
    observer = Observer(scripted, scripted, "flight_delay")
    arms = []
    for change in changes:
        change(scripted)
        arms.append(observer.observe()["canary"])
    return arms


def to(requests, errors, answer, refused=20):
    def change(scripted):
        scripted.requests, scripted.errors, scripted.answer, scripted.refused = requests, errors, answer, refused

    return change


def test_only_what_happened_since_counts():
    (first, second) = observed([to(1010, 6, Served("new", 110, 1.5)), to(1030, 6, Served("new", 130, 2.0))])
    assert first == Arm(requests=10, errors=1, answered=10, seconds=0.5)
    assert second == Arm(requests=30, errors=1, answered=30, seconds=1.0)


def test_refusals_are_counted_since_too():
    first, second = observed([to(1010, 5, None, refused=24), to(1030, 5, None, refused=30)])
    assert (first.refused, second.refused) == (4, 10)


def test_counters_that_fall_were_reset_and_are_all_new():
    (arm,) = observed([to(7, 0, Served("new", 7, 0.25), refused=0)])
    assert arm == Arm(requests=7, errors=0, answered=7, seconds=0.25)


def test_another_version_on_the_server_starts_its_own_count():
    (arm,) = observed([to(1000, 5, Served("other", 100, 1.0))])
    assert (arm.answered, arm.seconds) == (100, 1.0)


def test_a_silent_server_adds_nothing_and_loses_nothing():
    first, second = observed([to(1010, 5, None), to(1020, 5, Served("new", 120, 1.2))])
    assert (first.requests, first.answered, first.latency) == (10, 0, None)
    assert (second.requests, second.answered) == (20, 20)
