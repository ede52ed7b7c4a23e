"""Deciding on a model: of any number of responses at once, one retrains, and nothing blocks for ever."""

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateIndex

from kilter.errors import InputError
from kilter.stores.ledger import Ledger, retrainings

START = datetime(2013, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    made.migrate()
    yield made
    made.engine.dispose()


def alarm(ledger: Ledger, trigger: str) -> tuple[str, int | None, str]:
    """Respond to an alarm as a policy that always retrains: action, retraining, reason."""
    with ledger.deciding("m") as deciding:
        if (taken := deciding.taken(trigger)) is not None:
            return taken["action"], taken["retraining"], taken["reason"]
        under_way = deciding.retraining()
        row = {"trigger": trigger, "evidence": {}, "event_time": START}
        if under_way is None:
            row |= {"action": "retrain", "reason": "decayed"}
        else:
            reason = f"folded into retraining {under_way['id']}"
            row |= {"action": "wait", "reason": reason, "retraining": under_way["id"]}
        made = deciding.record(HOUR, **row)
        return made["action"], made["retraining"], made["reason"]


def alarm_in_a_process(url: str, trigger: str) -> tuple[str, int | None, str]:
    return alarm(Ledger(url), trigger)


def expired(ledger: Ledger) -> None:
    """Let every retraining have expired."""
    with ledger.transaction() as connection:
        connection.execute(update(retrainings).values(expires_at=datetime.now(UTC) - HOUR))


def test_a_hundred_alarms_from_threads_yield_one_retraining_and_each_other_says_which(ledger: Ledger) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda number: alarm(ledger, f"report {number}"), range(100)))
    assert Counter(action for action, _, _ in found) == {"retrain": 1, "wait": 99}
    assert {retraining for _, retraining, _ in found} == {1}
    assert {reason for action, _, reason in found if action == "wait"} == {"folded into retraining 1"}
    assert len(ledger.retrainings("m")) == 1
    assert len(ledger.decisions("m")) == 100


def test_responses_from_processes_yield_one_retraining(ledger: Ledger) -> None:
    url = ledger.engine.url.render_as_string()
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(alarm_in_a_process, [url] * 12, [f"report {number}" for number in range(12)]))
    assert Counter(action for action, _, _ in found) == {"retrain": 1, "wait": 11}


def test_the_same_alarm_a_hundred_times_is_one_decision(ledger: Ledger) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: alarm(ledger, "report"), range(100)))
    assert found == {("retrain", 1, "decayed")}
    assert len(ledger.decisions("m")) == 1


def test_models_do_not_hinder_one_another(ledger: Ledger) -> None:
    alarm(ledger, "report")
    assert ledger.begin_retraining("other", "run a", HOUR)["model"] == "other"


def test_a_retraining_is_open_until_its_version_was_judged(ledger: Ledger) -> None:
    alarm(ledger, "one")
    ledger.retrained("m", "decision 1", 4)
    assert ledger.end_retraining("m", "its run ended", begun_by="decision 1") is None
    assert alarm(ledger, "two")[0] == "wait"
    ended = ledger.end_retraining("m", "version 4 judged: promote", version=4)
    assert ended is not None
    assert (ended["reason"], ended["version"]) == ("version 4 judged: promote", 4)
    assert alarm(ledger, "three") == ("retrain", 2, "decayed")


def test_a_run_that_ends_without_a_version_frees_the_way(ledger: Ledger) -> None:
    alarm(ledger, "one")
    assert ledger.end_retraining("m", "failed", begun_by="decision 1") is not None
    assert ledger.end_retraining("m", "failed", begun_by="decision 1") is None
    assert alarm(ledger, "two")[0] == "retrain"


def test_a_retraining_that_nobody_ended_expires_with_a_reason(ledger: Ledger) -> None:
    alarm(ledger, "one")
    expired(ledger)
    assert alarm(ledger, "two") == ("retrain", 2, "decayed")
    assert [row["reason"] for row in ledger.retrainings("m")] == ["expired: no version was judged in time", None]


def test_a_cleared_run_goes_on_with_its_own_retraining_and_with_no_other(ledger: Ledger) -> None:
    alarm(ledger, "one")
    ledger.end_retraining("m", "failed", begun_by="decision 1")
    again = ledger.begin_retraining("m", "decision 1", HOUR)
    assert (again["id"], again["ended_at"]) == (1, None)
    with pytest.raises(InputError, match=r"retraining 1 by decision 1 is under way .* before run b trains"):
        ledger.begin_retraining("m", "run b", HOUR)


def test_a_response_that_dies_half_way_leaves_nothing(ledger: Ledger) -> None:
    def die() -> None:
        with ledger.deciding("m") as deciding:
            deciding.record(HOUR, trigger="one", action="retrain", reason="", evidence={}, event_time=START)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die()
    assert ledger.retrainings("m") == ledger.decisions("m") == []
    assert alarm(ledger, "one")[0] == "retrain"


def test_the_database_itself_lets_no_second_retraining_in(ledger: Ledger) -> None:
    row = {"model": "m", "begun_at": START, "expires_at": START}
    both = retrainings.insert().values([{"begun_by": cause, **row} for cause in ("a", "b")])
    with ledger.engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(both)


def test_postgresql_gets_the_same_index() -> None:
    (index,) = retrainings.indexes
    words = str(CreateIndex(index).compile(dialect=postgresql.dialect()))
    assert words == "CREATE UNIQUE INDEX one_open_retraining_a_model ON retrainings (model) WHERE ended_at IS NULL"
