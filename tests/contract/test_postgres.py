"""The ledger on PostgreSQL, with Optuna's studies beside it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from kilter.stores.ledger import Ledger, metadata
from kilter.stores.studies import ended, open_study, repeat_interrupted


@pytest.fixture
def ledger(postgresql: str) -> Iterator[Ledger]:
    """A ledger without tables."""
    made = Ledger(postgresql)
    yield made
    made.engine.dispose()
    engine = create_engine(postgresql)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


def test_the_migrations_make_exactly_the_tables_of_the_code(ledger: Ledger) -> None:
    ledger.migrate()
    with ledger.engine.connect() as connection:
        made = MigrationContext.configure(connection, opts={"version_table": "ledger_version"})
        assert compare_metadata(made, metadata) == []


def test_a_ledger_of_before_is_carried_over_and_optuna_gets_its_name(ledger: Ledger) -> None:
    ledger.migrate()
    ledger.record_search(
        model="m", study="s", basis="b", trainer="xgboost", as_of=datetime(2013, 1, 1, tzinfo=UTC), trial=1, loss=0.5,
        parameters={"eta": 0.1},
    )  # fmt: skip
    with ledger.transaction() as connection:
        connection.execute(
            text(
                "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY)"
            )
        )
        connection.execute(text("INSERT INTO alembic_version SELECT version_num FROM ledger_version"))
        connection.execute(text("DROP TABLE ledger_version"))
    ledger.migrate()
    assert not inspect(ledger.engine).has_table("alembic_version")
    with open_study(ledger, "m-1"):
        ledger.migrate()
    with ledger.transaction() as connection:
        owner = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    assert owner.startswith("v")
    found = ledger.last_search("m", datetime(2013, 1, 1, tzinfo=UTC))
    assert found is not None
    assert found["parameters"] == {"eta": 0.1}


def test_a_study_goes_on_where_it_was_killed(ledger: Ledger) -> None:
    ledger.migrate()
    with open_study(ledger, "m-1") as study:
        study.tell(study.ask(), 0.5)
        study.enqueue_trial({"eta": 0.25})
        study.ask().suggest_float("eta", 0.1, 1)
    with open_study(ledger, "m-1") as study:
        repeat_interrupted(study)
        again = study.ask()
        assert again.suggest_float("eta", 0.1, 1) == 0.25
        study.tell(again, 0.4)
        assert [(trial.number, trial.value) for trial in ended(study)] == [(0, 0.5), (2, 0.4)]
