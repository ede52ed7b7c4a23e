"""The ledger: batches, drift reports, decisions, retrainings, searches for parameters, regimes, gate verdicts with their
approvals, rollouts, and leases of GPUs, in SQL.

It makes a rollout resumable and a retraining unique. Tables are made by the migrations beside
this file (`python -m kilter migrate`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    insert,
    select,
    update,
)
from sqlalchemy.engine import Connection, RowMapping
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.types import TypeDecorator

from kilter.core.rollout import OPEN, PROMOTED, State, may_precede, resumed
from kilter.errors import InputError, UnavailableError

if TYPE_CHECKING:
    from kilter.stores.deciding import Deciding


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC times, also on SQLite, which forgets the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()

batches = Table(
    "batches",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(100), nullable=False),
    Column("interval_start", UtcDateTime, nullable=False),
    Column("interval_end", UtcDateTime, nullable=False),
    Column("key", String(500), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("verdict", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    UniqueConstraint("model", "interval_start", "digest", name="one_row_a_batch"),
)

reports = Table(
    "reports",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(100), nullable=False),
    Column("window_start", UtcDateTime, nullable=False),
    Column("window_end", UtcDateTime, nullable=False),
    Column("key", String(500), nullable=False),
    Column("summary", JSON, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    UniqueConstraint("model", "key", name="one_row_a_report"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(100), nullable=False),
    Column("trigger", String(500), nullable=False),
    Column("action", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("event_time", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    # What it leads to; rows older than these columns have none.
    Column("version", Integer),
    Column("scope", JSON),
    Column("alert", Boolean),
    Column("retraining", Integer),
    Column("tune", Boolean),
    UniqueConstraint("model", "trigger", name="one_decision_a_trigger"),
)

deciders = Table("deciders", metadata, Column("model", String(100), primary_key=True))
"""A row to lock for whoever decides on a model."""

retrainings = Table(
    "retrainings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(100), nullable=False),
    Column("begun_by", String(500), nullable=False),
    Column("version", Integer),
    Column("begun_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("reason", Text),
    UniqueConstraint("model", "begun_by", name="one_retraining_a_cause"),
)
_not_ended = retrainings.c.ended_at.is_(None)
Index(
    "one_open_retraining_a_model",
    retrainings.c.model,
    unique=True,
    sqlite_where=_not_ended,
    postgresql_where=_not_ended,
)

searches = Table(
    "searches",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(100), nullable=False),
    Column("study", String(200), nullable=False),
    Column("basis", String(64), nullable=False),
    Column("trainer", String(100), nullable=False),
    Column("as_of", UtcDateTime, nullable=False),
    Column("trial", Integer, nullable=False),
    Column("loss", Float, nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    UniqueConstraint("model", "study", name="one_row_a_study"),
)

regimes = Table(
    "regimes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(100), nullable=False),
    Column("version", Integer, nullable=False),
    Column("regime", JSON, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    UniqueConstraint("model", "version", name="one_regime_a_version"),
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(100), nullable=False),
    Column("version", Integer, nullable=False),
    Column("verdict", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("judgements", JSON, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    # Rows older than the holdout have none of these.
    Column("action", String(20)),
    Column("holdout", String(500)),
    Column("evaluation_start", UtcDateTime),
    Column("evaluation_end", UtcDateTime),
    Column("as_of", UtcDateTime),
)
Index("one_verdict_a_holdout", verdicts.c.model, verdicts.c.version, verdicts.c.holdout, unique=True)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(100), nullable=False),
    Column("version", Integer, nullable=False),
    Column("holdout", String(500), nullable=False),
    Column("approved", Boolean, nullable=False),
    Column("person", String(500), nullable=False),
    Column("reason", Text, nullable=False),
    Column("answered_at", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    UniqueConstraint("model", "version", "holdout", "answered_at", name="one_row_an_answer"),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(100), nullable=False),
    Column("candidate", Integer, nullable=False),
    Column("champion", Integer),
    Column("state", String(20), nullable=False),
    Column("weight", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("evidence", JSON),
    # A version brought back, and the decision to; rows older than these columns have none.
    Column("decision", Integer),
    Column("fast", Boolean),
)
_is_open = rollouts.c.state.in_(OPEN)
Index("one_open_rollout_a_model", rollouts.c.model, unique=True, sqlite_where=_is_open, postgresql_where=_is_open)

rollout_events = Table(
    "rollout_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("rollout", ForeignKey("rollouts.id"), nullable=False),
    Column("state", String(20), nullable=False),
    Column("weight", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
)

gpu_leases = Table(
    "gpu_leases",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("host", String(200), nullable=False),
    Column("device", String(100), nullable=False),
    Column("owner", String(1000), nullable=False),
    Column("leased_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    UniqueConstraint("host", "device", name="one_lease_a_device"),
)
"""See `kilter.stores.leases`."""

MIGRATIONS = Path(__file__).with_name("migrations")


def patience(url: str) -> dict[str, Any]:
    """What a connection is told so that it waits for other writers; PostgreSQL does by itself."""
    return {"timeout": 30} if url.startswith("sqlite") else {}


class Ledger:
    """Reads and writes of the ledger; each write is one transaction.

    Args:
        url: SQLAlchemy URL, SQLite or PostgreSQL.
    """

    def __init__(self, url: str) -> None:
        self.engine: Engine = create_engine(url, connect_args=patience(url))

    def migrate(self) -> None:
        """Bring the tables to the newest version; does nothing when they are."""
        from alembic import command
        from alembic.config import Config

        if (file := self.engine.url.database) and self.engine.dialect.name == "sqlite" and file != ":memory:":
            Path(file).parent.mkdir(parents=True, exist_ok=True)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self.transaction() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction; an unreachable or empty database is an `UnavailableError`."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except (OperationalError, ProgrammingError) as error:
            raise UnavailableError(
                f"ledger {self.engine.url.render_as_string()}: {error.orig}: "
                "is the database up, and was 'python -m kilter migrate' run?"
            ) from error

    # batches

    def record_batch(self, **row: Any) -> None:
        """Record a validated batch: model, interval_start, interval_end, key, digest, rows, verdict, reason.

        The same batch again replaces its verdict.
        """
        self._upsert(batches, ("model", "interval_start", "digest"), row)

    def batches(self, model: str, before: datetime | None = None, verdict: str | None = None) -> Sequence[RowMapping]:
        """Batches of a model by interval, oldest first; `before` limits the interval's end."""
        query = select(batches).where(batches.c.model == model)
        if before is not None:
            query = query.where(batches.c.interval_end <= before)
        if verdict is not None:
            query = query.where(batches.c.verdict == verdict)
        return self._all(query.order_by(batches.c.interval_start, batches.c.id))

    # drift reports

    def record_report(self, **row: Any) -> None:
        """Record a drift report: model, window_start, window_end, key, summary."""
        self._upsert(reports, ("model", "key"), row)

    def report(self, model: str, key: str) -> RowMapping:
        """The report under `key`; `InputError` when there is none."""
        found = self._all(select(reports).where(reports.c.model == model, reports.c.key == key))
        if not found:
            raise InputError(f"ledger: model '{model}' has no drift report '{key}': run {model}.drift_monitoring first")
        return found[0]

    def window(self, model: str, end: datetime) -> str:
        """Key of the window that the newest report up to `end` covers; `InputError` when there is none."""
        found = self._all(
            select(reports).where(reports.c.model == model, reports.c.window_end == end).order_by(reports.c.id.desc())
        )
        if not found:
            raise InputError(f"ledger: model '{model}' has no drift report of a window that ends {end}")
        return str(found[0]["summary"]["window"])

    def reports(self, model: str, before: datetime) -> Sequence[RowMapping]:
        """The newest report on each window that ended before `before`, oldest window first."""
        query = select(reports).where(reports.c.model == model, reports.c.window_end < before).order_by(reports.c.id)
        newest = {row["window_end"]: row for row in self._all(query)}
        return [newest[end] for end in sorted(newest)]

    def qualities(self, model: str, version: int, before: datetime) -> list[float]:
        """What a version's metric was in each window that it served and that ended before `before`."""
        query = select(reports).where(reports.c.model == model, reports.c.window_end < before)
        summaries = [row["summary"] for row in self._all(query)]
        return [item["value"] for item in summaries if item["version"] == version and item["value"] is not None]

    def undecided_report(self, model: str) -> RowMapping | None:
        """The newest report that no decision was taken on, unless a newer one was decided already."""
        newest = self._all(
            select(reports)
            .where(reports.c.model == model)
            .order_by(reports.c.window_end.desc(), reports.c.id.desc())
            .limit(1)
        )
        if not newest:
            return None
        decided = self._all(
            select(decisions.c.id).where(decisions.c.model == model, decisions.c.trigger == newest[0]["key"])
        )
        return None if decided else newest[0]

    def labels_between(self, model: str, after: datetime | None, until: datetime) -> int:
        """Labelled rows in the windows that end in (after, until], the newest report of each window."""
        query = select(reports).where(reports.c.model == model, reports.c.window_end <= until).order_by(reports.c.id)
        labelled = {row["window_end"]: int(row["summary"]["labelled"]) for row in self._all(query)}
        return sum(count for end, count in labelled.items() if after is None or end > after)

    # decisions

    @contextmanager
    def deciding(self, model: str) -> Iterator[Deciding]:
        """One transaction in which nobody else decides on the model; what it records stands when it ends."""
        from kilter.stores.deciding import Deciding

        with self.transaction() as connection:
            yield Deciding(connection, model)

    def decisions(self, model: str) -> Sequence[RowMapping]:
        """Decisions of a model, oldest event first."""
        return self._all(
            select(decisions).where(decisions.c.model == model).order_by(decisions.c.event_time, decisions.c.id)
        )

    # retrainings

    def begin_retraining(self, model: str, begun_by: str, within: timedelta) -> RowMapping:
        """Open a retraining, or find the one that this cause began.

        Raises:
            InputError: another one is under way.
        """
        with self.deciding(model) as deciding:
            return deciding.begin_retraining(begun_by, within)

    def retrained(self, model: str, begun_by: str, version: int) -> None:
        """Note which version a retraining registered."""
        same = (retrainings.c.model == model, retrainings.c.begun_by == begun_by)
        with self.transaction() as connection:
            connection.execute(update(retrainings).where(*same).values(version=version))

    def end_retraining(
        self, model: str, reason: str, begun_by: str | None = None, version: int | None = None
    ) -> RowMapping | None:
        """End the open retraining if it is the one that this cause began and has no version, or that of this version.

        Returns:
            The retraining that was ended; None when none was.
        """
        of_cause = (retrainings.c.begun_by == begun_by) & retrainings.c.version.is_(None)
        same = of_cause if begun_by is not None else retrainings.c.version == version
        ended = update(retrainings).where(retrainings.c.model == model, retrainings.c.ended_at.is_(None), same)
        with self.transaction() as connection:
            found = connection.execute(ended.values(ended_at=_now(), reason=reason).returning(*retrainings.c))
            return found.mappings().first()

    def retrainings(self, model: str) -> Sequence[RowMapping]:
        """Retrainings of a model, oldest first."""
        return self._all(select(retrainings).where(retrainings.c.model == model).order_by(retrainings.c.id))

    # searches for parameters

    def record_search(self, **row: Any) -> None:
        """Record what a search found: model, study, basis, trainer, as_of, trial, loss, parameters.

        `basis` says what the parameters were searched for: see `kilter.search.basis`. The same study again replaces its row.
        """
        self._upsert(searches, ("model", "study"), row)

    def last_search(self, model: str, until: datetime) -> RowMapping | None:
        """Up to that event time the newest search, of two the one that was recorded last; None before the first."""
        query = select(searches).where(searches.c.model == model, searches.c.as_of <= until)
        found = self._all(query.order_by(searches.c.as_of.desc(), searches.c.recorded_at.desc()).limit(1))
        return found[0] if found else None

    # regimes

    def record_regime(self, model: str, version: int, regime: dict[str, Any]) -> None:
        """Keep the fingerprint of what a version learned from; the same version again replaces it."""
        self._upsert(regimes, ("model", "version"), {"model": model, "version": version, "regime": regime})

    def regimes(self, model: str) -> dict[int, dict[str, Any]]:
        """Fingerprints by version."""
        return {row["version"]: row["regime"] for row in self._all(select(regimes).where(regimes.c.model == model))}

    # gate verdicts

    def record_verdict(self, **row: Any) -> None:
        """Record a verdict: model, version, holdout, verdict, reason, judgements, action, evaluation window, as_of.

        The window is `evaluation_start` … `evaluation_end`. The same holdout judged again replaces its verdict.
        """
        self._upsert(verdicts, ("model", "version", "holdout"), row)

    def verdicts(self, model: str) -> Sequence[RowMapping]:
        """Gate verdicts of a model, in the order in which they were last given."""
        query = select(verdicts).where(verdicts.c.model == model)
        return self._all(query.order_by(verdicts.c.recorded_at, verdicts.c.id))

    def verdict_on(self, model: str, version: int, holdout: str) -> RowMapping:
        """The verdict on one version by one holdout; `InputError` when there is none."""
        for row in self.verdicts(model):
            if (row["version"], row["holdout"]) == (version, holdout):
                return row
        raise InputError(
            f"ledger: model '{model}' version {version} was not judged by holdout '{holdout}': "
            f"run {model}.model_validation with version {version}"
        )

    def record_approval(self, **row: Any) -> None:
        """Record a person's answer: model, version, holdout, approved, person, reason, answered_at."""
        self._upsert(approvals, ("model", "version", "holdout", "answered_at"), row)

    def approvals(self, model: str) -> Sequence[RowMapping]:
        """Answers about a model's versions, oldest first."""
        query = select(approvals).where(approvals.c.model == model)
        return self._all(query.order_by(approvals.c.answered_at, approvals.c.id))

    # rollouts

    def begin_rollout(
        self, model: str, candidate: int, champion: int | None, fast: bool = False, decision: int | None = None
    ) -> int:
        """Begin a rollout, or find the open one of the same candidate; return its id.

        Args:
            fast: whether the candidate was the champion before and goes by `canary.fast`.
            decision: the decision that brings it back.

        Raises:
            InputError: another candidate's rollout of this model is open.
        """
        if (found := self.open_rollout(model)) is None:
            try:
                return self._begin(model, candidate, champion, fast, decision)
            except IntegrityError:
                # Somebody began one in between: the index on open rollouts lets no second one in.
                found = self.open_rollout(model)
        if found is None or found["candidate"] != candidate:
            other = (
                f"version {found['candidate']} (rollout {found['id']}, {found['state']})" if found else "another one"
            )
            raise InputError(
                f"model '{model}': {other} is being rolled out: wait until it has ended, "
                f"or end it with 'kilter rollout abort {model}', before version {candidate} begins"
            )
        return int(found["id"])

    def _begin(self, model: str, candidate: int, champion: int | None, fast: bool, decision: int | None) -> int:
        now = _now()
        row = {"model": model, "candidate": candidate, "champion": champion, "state": "staged", "weight": 0}
        row |= {"fast": fast, "decision": decision}
        begun = insert(rollouts).values(started_at=now, updated_at=now, **row).returning(rollouts.c.id)
        with self.transaction() as connection:
            identity = int(connection.execute(begun).scalar_one())
            why = f", brought back by decision {decision}" if decision else ""
            self._event(connection, identity, "staged", 0, f"version {candidate} staged{why}", {})
        return identity

    def advance_rollout(
        self, rollout: RowMapping, state: State, weight: int, reason: str, evidence: dict[str, Any] | None = None
    ) -> RowMapping:
        """Move a rollout on from where it was when it was read, with its reason and evidence; one transaction.

        Returns:
            The rollout as it is then.

        Raises:
            InputError: it is not there any more: somebody else has moved it; or nothing leads to that state from there; or
                another rollout of the model is under way.
        """
        if rollout["state"] not in may_precede(state):
            raise self._no_way(rollout, state)
        return self._move(rollout, state, weight, reason, evidence or {})

    def resume_rollout(self, rollout: RowMapping, reason: str) -> RowMapping:
        """Let a held rollout go on where it was held; otherwise as `advance_rollout`."""
        if rollout["state"] != "held":
            raise self._no_way(rollout, resumed(rollout["weight"]))
        return self._move(rollout, resumed(rollout["weight"]), rollout["weight"], reason, {})

    def _no_way(self, rollout: RowMapping, state: State) -> InputError:
        return InputError(
            f"ledger: rollout {rollout['id']} of '{rollout['model']}' version {rollout['candidate']} is {rollout['state']}, "
            f"from where nothing leads to {state}: see 'kilter rollout status {rollout['model']}'"
        )

    def _move(
        self, rollout: RowMapping, state: State, weight: int, reason: str, evidence: dict[str, Any]
    ) -> RowMapping:
        here = [rollouts.c[name] == rollout[name] for name in ("id", "state", "weight")]
        try:
            with self.transaction() as connection:
                moved = connection.execute(
                    update(rollouts).where(*here).values(state=state, weight=weight, updated_at=_now())
                ).rowcount
                if moved:
                    self._event(connection, rollout["id"], state, weight, reason, evidence)
        except IntegrityError:
            raise InputError(
                f"model '{rollout['model']}': another rollout is under way: abort it before version "
                f"{rollout['candidate']} becomes {state}"
            ) from None
        now = self.rollout(rollout["id"])
        if not moved:
            raise InputError(
                f"ledger: rollout {rollout['id']} of '{rollout['model']}' was moved meanwhile, to {now['state']} at weight "
                f"{now['weight']}: whoever did that goes on with it"
            )
        return now

    def keep_evidence(self, rollout: int, evidence: Mapping[str, Any]) -> None:
        """Keep what a rollout has shown so far, in place of what was kept before."""
        with self.transaction() as connection:
            connection.execute(update(rollouts).where(rollouts.c.id == rollout).values(evidence=dict(evidence)))

    def rollout(self, rollout: int) -> RowMapping:
        """One rollout; `InputError` when there is none."""
        found = self._all(select(rollouts).where(rollouts.c.id == rollout))
        if not found:
            raise InputError(f"ledger: no rollout {rollout}: see 'kilter rollout status <model>'")
        return found[0]

    def running_rollout(self, rollout: int, model: str) -> RowMapping:
        """A rollout of this model that is under way; `InputError` when it has ended or is another model's."""
        row = self.rollout(rollout)
        if row["model"] != model:
            raise InputError(
                f"ledger: rollout {rollout} is of model '{row['model']}', not '{model}': give its own model"
            )
        if row["state"] not in OPEN:
            raise InputError(
                f"ledger: rollout {rollout} of '{model}' version {row['candidate']} ended {row['state']}: stage the version again"
            )
        return row

    def open_rollout(self, model: str) -> RowMapping | None:
        """The rollout of a model that is under way, if any."""
        return next((row for row in self.rollouts(model) if row["state"] in OPEN), None)

    def newest_rollout(self, model: str, candidate: int) -> RowMapping | None:
        """The newest rollout of this candidate; None when none began."""
        return next((row for row in reversed(self.rollouts(model)) if row["candidate"] == candidate), None)

    def last_promoted(self, model: str) -> int | None:
        """The version that was promoted last; None when none was."""
        rows = reversed(self.rollouts(model))
        return next((row["candidate"] for row in rows if row["state"] in PROMOTED), None)

    def champions(self, model: str) -> list[int]:
        """Versions that were promoted and not found worse by their labels, in the order in which they last were."""
        newest_first = [row["candidate"] for row in reversed(self.rollouts(model)) if row["state"] in PROMOTED]
        return list(dict.fromkeys(newest_first))[::-1]

    def promoted_at(self, model: str) -> datetime | None:
        """When a version that stayed was promoted last; None when none was."""
        times: list[datetime] = [self._promoted_at(row) for row in self.rollouts(model) if row["state"] in PROMOTED]
        return max(times, default=None)

    def _promoted_at(self, rollout: RowMapping) -> datetime:
        """When a rollout was promoted; it may have been settled since."""
        events = self.rollout_events(rollout["id"])
        return next((event["recorded_at"] for event in events if event["state"] in PROMOTED), rollout["updated_at"])

    def provisional(self, model: str) -> RowMapping | None:
        """The rollout whose candidate is the champion until labels tell, if any."""
        return next((row for row in reversed(self.rollouts(model)) if row["state"] == "promoted"), None)

    def in_the_way(self, model: str, candidate: int, fast: bool = False) -> RowMapping | None:
        """Another candidate's rollout that is under way, or else one that is not settled yet.

        A version that comes back fast does not wait for the latter: the world that its labels would tell of is gone.
        """
        for row in (self.open_rollout(model), None if fast else self.provisional(model)):
            if row is not None and row["candidate"] != candidate:
                return row
        return None

    def judged(self, rollout: int) -> RowMapping | None:
        """The newest event of a rollout that holds a judgement; None before the first."""
        events = reversed(self.rollout_events(rollout))
        return next((event for event in events if "judgement" in event["evidence"]), None)

    def rollouts(self, model: str) -> Sequence[RowMapping]:
        """Rollouts of a model, oldest first."""
        return self._all(select(rollouts).where(rollouts.c.model == model).order_by(rollouts.c.id))

    def rollout_events(self, rollout: int) -> Sequence[RowMapping]:
        """The events of a rollout, oldest first."""
        return self._all(
            select(rollout_events).where(rollout_events.c.rollout == rollout).order_by(rollout_events.c.id)
        )

    # shared

    def _event(
        self, connection: Connection, rollout: int, state: str, weight: int, reason: str, evidence: dict[str, Any]
    ) -> None:
        row = {"rollout": rollout, "state": state, "weight": weight, "reason": reason, "evidence": evidence}
        connection.execute(insert(rollout_events).values(recorded_at=_now(), **row))

    def _all(self, query: Any) -> Sequence[RowMapping]:
        with self.transaction() as connection:
            return connection.execute(query).mappings().all()

    def _upsert(self, table: Table, key: tuple[str, ...], row: dict[str, Any]) -> None:
        same = [table.c[name] == row[name] for name in key]
        with self.transaction() as connection:
            changed = connection.execute(update(table).where(*same).values(recorded_at=_now(), **row))
            if not changed.rowcount:
                connection.execute(insert(table).values(recorded_at=_now(), **row))


def _now() -> datetime:
    return datetime.now(UTC)
