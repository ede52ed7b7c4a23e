"""The ledger, on a real SQLite file."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from optuna.storages._rdb.models import BaseModel
from sqlalchemy import inspect, text

from kilter.errors import InputError, UnavailableError
from kilter.stores.ledger import MIGRATIONS, Ledger, metadata
from kilter.stores.studies import open_study

START = datetime(2013, 1, 1, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(f"sqlite:///{tmp_path}/state/ledger.db")
    made.migrate()
    return made


def report(ledger: Ledger, day: int, **summary: Any) -> str:
    end = START + timedelta(days=day)
    values = {"labelled": 10, "version": 1, "value": 0.7, "window": f"windows/{day}"} | summary
    key = f"reports/{day}"
    ledger.record_report(model="m", window_start=START, window_end=end, key=key, summary=values)
    return key


def decide(ledger: Ledger, trigger: str, action: str = "wait") -> Any:
    with ledger.deciding("m") as deciding:
        row = {"action": action, "reason": "why", "evidence": {}, "event_time": START}
        return deciding.taken(trigger) or deciding.record(timedelta(hours=1), trigger=trigger, **row)


def move(ledger: Ledger, rollout: int, *states: str, weight: int = 5) -> Any:
    """Lead a rollout through these states; return it as it is then."""
    for state in states:
        ledger.advance_rollout(ledger.rollout(rollout), state, weight, "worse", {"errors": 3})  # type: ignore[arg-type]
    return ledger.rollout(rollout)


def test_the_migrations_make_exactly_the_tables_of_the_code(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        made = MigrationContext.configure(connection, opts={"version_table": "ledger_version"})
        assert compare_metadata(made, metadata) == []


def test_migrating_twice_changes_nothing(ledger: Ledger) -> None:
    decide(ledger, "report")
    ledger.migrate()
    assert len(ledger.decisions("m")) == 1


def search(ledger: Ledger, study: str, day: int, **found: Any) -> None:
    row = {"basis": "b", "trainer": "xgboost", "trial": 3, "loss": 0.5, "parameters": {"eta": 0.1}} | found
    ledger.record_search(model="m", study=study, as_of=START + timedelta(days=day), **row)


def test_the_last_search_is_that_of_the_newest_event_time_and_one_made_again_replaces_itself(ledger: Ledger) -> None:
    end = START + timedelta(days=30)
    assert ledger.last_search("m", end) is None
    search(ledger, "new", 9, trial=1)
    search(ledger, "old", 1)
    search(ledger, "new", 9, trial=2)
    found = ledger.last_search("m", end)
    assert found is not None
    assert (found["study"], found["trial"], found["parameters"]) == ("new", 2, {"eta": 0.1})
    assert ledger.last_search("other", end) is None


@pytest.mark.parametrize(("day", "study"), [(0, None), (1, "old"), (8, "old"), (9, "new")])
def test_a_search_of_a_later_event_time_is_not_yet_the_last_one(ledger: Ledger, day: int, study: str | None) -> None:
    search(ledger, "new", 9)
    search(ledger, "old", 1)
    found = ledger.last_search("m", START + timedelta(days=day))
    assert (found["study"] if found else None) == study


def versions(ledger: Ledger) -> dict[str, str]:
    """What stands in the tables that migrations keep their place in."""
    with ledger.transaction() as connection:
        tables = [name for name in inspect(connection).get_table_names() if name.endswith("_version")]
        return {name: connection.execute(text(f"SELECT version_num FROM {name}")).scalar_one() for name in tables}


def test_a_ledger_of_before_the_searches_is_carried_over_and_leaves_optuna_its_table(tmp_path: Path) -> None:
    old = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    migrate_to(old, "0006")
    with old.transaction() as connection:
        connection.execute(text("ALTER TABLE ledger_version RENAME TO alembic_version"))
    assert versions(old) == {"alembic_version": "0006"}
    for _ in range(2):
        old.migrate()
        assert versions(old).keys() == {"ledger_version"}
    with open_study(old, "m-1"):
        pass
    old.migrate()
    assert versions(old)["alembic_version"].startswith("v")
    assert len(old.decisions("m")) == 0


def test_no_table_of_ours_is_called_like_one_of_optunas(ledger: Ledger) -> None:
    ours = {*inspect(ledger.engine).get_table_names()}
    with open_study(ledger, "m-1"):
        theirs = {*BaseModel.metadata.tables, "alembic_version"}
    assert not ours & theirs
    assert {*inspect(ledger.engine).get_table_names()} == ours | theirs


def test_times_come_back_in_utc(ledger: Ledger) -> None:
    assert decide(ledger, "report")["event_time"] == START


def test_a_ledger_without_tables_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="kilter migrate"):
        Ledger(f"sqlite:///{tmp_path}/empty.db").decisions("m")


def test_the_same_batch_again_replaces_its_verdict(ledger: Ledger) -> None:
    row = {
        "model": "m",
        "interval_start": START,
        "interval_end": START,
        "key": "k",
        "digest": "d",
        "rows": 1,
        "reason": "",
    }
    ledger.record_batch(**row, verdict="failed")
    ledger.record_batch(**row, verdict="passed")
    assert [item["verdict"] for item in ledger.batches("m")] == ["passed"]
    assert list(ledger.batches("m", verdict="failed")) == []


def test_one_trigger_leads_to_one_decision(ledger: Ledger) -> None:
    first = decide(ledger, "report", "retrain")
    again = decide(ledger, "report", "wait")
    assert (again["id"], again["action"]) == (first["id"], "retrain")


def test_many_deciders_at_once_take_one_decision(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda _: decide(ledger, "report", "retrain"), range(16)))
    assert len({row["id"] for row in rows}) == 1


def test_only_the_newest_report_waits_for_a_decision(ledger: Ledger) -> None:
    assert ledger.undecided_report("m") is None
    report(ledger, 1)
    newest = report(ledger, 2)
    found = ledger.undecided_report("m")
    assert found is not None
    assert found["key"] == newest
    decide(ledger, newest)
    assert ledger.undecided_report("m") is None


def test_labels_are_counted_once_a_window_and_after_the_training_only(ledger: Ledger) -> None:
    report(ledger, 1, labelled=5)
    report(ledger, 2, labelled=7)
    report(ledger, 3, labelled=11)
    assert ledger.labels_between("m", START + timedelta(days=1), START + timedelta(days=2)) == 7
    assert ledger.labels_between("m", None, START + timedelta(days=3)) == 23


def test_the_qualities_of_a_version_are_those_of_its_own_earlier_windows(ledger: Ledger) -> None:
    report(ledger, 1, value=0.7)
    report(ledger, 2, value=0.8, version=2)
    report(ledger, 3, value=None)
    report(ledger, 4, value=0.6)
    assert ledger.qualities("m", 1, START + timedelta(days=4)) == [0.7]


def test_a_second_candidate_waits_for_the_open_rollout(ledger: Ledger) -> None:
    rollout = ledger.begin_rollout("m", 2, 1)
    assert ledger.begin_rollout("m", 2, 1) == rollout
    with pytest.raises(InputError, match=r"version 2 \(rollout 1, staged\) is being rolled out"):
        ledger.begin_rollout("m", 3, 1)
    move(ledger, rollout, "rolling_back", "rolled_back")
    assert ledger.begin_rollout("m", 3, 1) != rollout
    events = [(row["state"], row["reason"]) for row in ledger.rollout_events(rollout)]
    assert events == [("staged", "version 2 staged"), ("rolling_back", "worse"), ("rolled_back", "worse")]


def test_of_many_candidates_at_once_one_is_rolled_out(ledger: Ledger) -> None:
    barrier = Barrier(8)

    def begin(candidate: int) -> int | str:
        barrier.wait()
        try:
            return ledger.begin_rollout("m", candidate, 1)
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(begin, range(2, 10)))
    assert len(ledger.rollouts("m")) == 1
    assert [item for item in found if isinstance(item, int)] == [1]
    assert all("is being rolled out" in item for item in found if isinstance(item, str))


def test_the_same_candidate_begun_many_times_at_once_is_one_rollout(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: ledger.begin_rollout("m", 2, 1), range(16))) == {1}
    assert len(ledger.rollout_events(1)) == 1


def test_the_newest_rollout_and_the_last_promoted_version_are_found(ledger: Ledger) -> None:
    assert ledger.newest_rollout("m", 2) is None
    assert ledger.last_promoted("m") is None
    move(ledger, ledger.begin_rollout("m", 2, None), "promoting", "settled")
    move(ledger, ledger.begin_rollout("m", 3, 2), "rolling_back", "rolled_back")
    again = ledger.begin_rollout("m", 3, 2)
    found = ledger.newest_rollout("m", 3)
    assert found is not None
    assert (found["id"], ledger.last_promoted("m")) == (again, 2)


def test_a_rollout_goes_from_state_to_state_as_it_may_and_no_other_way(ledger: Ledger) -> None:
    rollout = ledger.begin_rollout("m", 2, 1)
    held = move(ledger, rollout, "shadow", "shifting", "held")
    with pytest.raises(InputError, match="is held, from where nothing leads to shifting"):
        ledger.advance_rollout(held, "shifting", 5, "")
    resumed = ledger.resume_rollout(held, "looked into")
    assert (resumed["state"], resumed["weight"]) == ("shifting", 5)
    with pytest.raises(InputError, match="from where nothing leads"):
        ledger.resume_rollout(resumed, "again")
    promoted = move(ledger, rollout, "promoting", "promoted")
    events = len(ledger.rollout_events(rollout))
    with pytest.raises(InputError, match="is promoted, from where nothing leads to shifting"):
        ledger.advance_rollout(promoted, "shifting", 5, "")
    assert (ledger.rollout(rollout)["state"], len(ledger.rollout_events(rollout))) == ("promoted", events)
    found = ledger.provisional("m")
    assert found is not None
    assert found["id"] == rollout
    move(ledger, rollout, "settled", "giving_back", "rolled_back")
    assert ledger.provisional("m") is None
    assert ledger.last_promoted("m") is None


def test_who_was_overtaken_moves_nothing(ledger: Ledger) -> None:
    rollout = ledger.begin_rollout("m", 2, 1)
    read = move(ledger, rollout, "shadow", "shifting")
    ledger.advance_rollout(read, "shifting", 25, "")
    with pytest.raises(InputError, match="was moved meanwhile, to shifting at weight 25"):
        ledger.advance_rollout(read, "held", 5, "")
    assert (ledger.rollout(rollout)["state"], len(ledger.rollout_events(rollout))) == ("shifting", 4)


def test_nothing_is_given_back_while_another_rollout_is_under_way(ledger: Ledger) -> None:
    promoted = move(ledger, ledger.begin_rollout("m", 2, 1), "shadow", "shifting", "promoting", "promoted", "settled")
    ledger.begin_rollout("m", 3, 2)
    with pytest.raises(InputError, match="another rollout is under way: abort it before version 2 becomes giving_back"):
        ledger.advance_rollout(promoted, "giving_back", 0, "")


def test_a_candidate_has_another_in_its_way_until_that_is_settled(ledger: Ledger) -> None:
    rollout = ledger.begin_rollout("m", 2, 1)
    assert ledger.in_the_way("m", 2) is None
    for state in ("shadow", "shifting", "promoting", "promoted"):
        move(ledger, rollout, state)
        found = ledger.in_the_way("m", 3)
        assert found is not None
        assert found["id"] == rollout
    move(ledger, rollout, "settled")
    assert ledger.in_the_way("m", 3) is None


def test_a_promotion_counts_from_when_it_was_made_though_it_was_settled_since(ledger: Ledger) -> None:
    rollout = ledger.begin_rollout("m", 2, 1)
    move(ledger, rollout, "shadow", "shifting", "promoting", "promoted")
    made = ledger.promoted_at("m")
    move(ledger, rollout, "settled")
    assert made == ledger.promoted_at("m") == ledger.rollout_events(rollout)[-2]["recorded_at"]


def test_an_unknown_report_or_rollout_is_refused(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="no drift report"):
        ledger.report("m", "nothing")
    with pytest.raises(InputError, match="no rollout 7"):
        ledger.rollout(7)


def judged(ledger: Ledger, version: int, holdout: str, **changes: Any) -> None:
    row = {"verdict": "passed", "reason": "why", "judgements": [], "action": "promote"}
    times = {"evaluation_start": START, "evaluation_end": START + timedelta(days=9), "as_of": START + timedelta(days=9)}
    ledger.record_verdict(model="m", version=version, holdout=holdout, **(row | times | changes))


def test_the_same_holdout_judged_again_replaces_its_verdict_and_another_adds_one(ledger: Ledger) -> None:
    judged(ledger, 2, "a", verdict="error", action="hold")
    judged(ledger, 2, "a")
    judged(ledger, 2, "b")
    judged(ledger, 3, "a")
    found = [(row["version"], row["holdout"], row["verdict"]) for row in ledger.verdicts("m")]
    assert found == [(2, "a", "passed"), (2, "b", "passed"), (3, "a", "passed")]
    assert ledger.verdict_on("m", 2, "b")["evaluation_end"] == START + timedelta(days=9)
    with pytest.raises(InputError, match=r"version 3 was not judged by holdout 'b': run m\.model_validation"):
        ledger.verdict_on("m", 3, "b")


def test_verdicts_from_before_there_were_holdouts_stay_readable(tmp_path: Path) -> None:
    old = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    migrate_to(old, "0002")
    with old.transaction() as connection:
        for _ in range(2):
            connection.execute(
                text("INSERT INTO verdicts (model, version, verdict, reason, judgements, recorded_at)"
                     " VALUES ('m', 1, 'passed', 'why', '[]', '2013-01-01 00:00:00')")
            )  # fmt: skip
    old.migrate()
    rows = old.verdicts("m")
    assert [(row["verdict"], row["action"], row["evaluation_end"], row["recorded_at"]) for row in rows] == [
        ("passed", None, None, START)
    ] * 2


def test_an_answer_is_kept_once_and_a_second_answer_beside_it(ledger: Ledger) -> None:
    answer = {"model": "m", "version": 2, "holdout": "a", "person": "ann", "reason": "too early"}
    for day in (1, 1, 2):
        ledger.record_approval(**answer, approved=day == 2, answered_at=START + timedelta(days=day))
    found = [(row["approved"], row["answered_at"].day, row["person"]) for row in ledger.approvals("m")]
    assert found == [(False, 2, "ann"), (True, 3, "ann")]


def migrate_to(ledger: Ledger, revision: str) -> None:
    """Bring the tables to an old version."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with ledger.transaction() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
