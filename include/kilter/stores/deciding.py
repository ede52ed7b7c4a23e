"""Deciding on a model: one transaction in which nobody else does, so that of two responses at once one retrains."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, text, update
from sqlalchemy.engine import Connection, RowMapping

from kilter.errors import InputError
from kilter.stores.ledger import deciders, decisions, retrainings, rollouts


class Deciding:
    """What is known of a model's past, and what was decided, all within one transaction (`Ledger.deciding`).

    Whoever comes second waits until the first has committed, and then sees what that one decided.

    Args:
        connection: its transaction. The model's row in `deciders` is locked first: on PostgreSQL that row alone,
            on SQLite, which knows no rows, the whole file against other writers.
    """

    def __init__(self, connection: Connection, model: str) -> None:
        self._connection = connection
        self.model = model
        # The same words on SQLite and PostgreSQL, and a write first: SQLite lets no reader become a writer after another wrote.
        connection.execute(
            text("INSERT INTO deciders (model) VALUES (:model) ON CONFLICT (model) DO NOTHING"), {"model": model}
        )
        connection.execute(update(deciders).where(deciders.c.model == model).values(model=model))
        self._end_expired()

    def taken(self, trigger: str) -> RowMapping | None:
        """The decision that this trigger led to already, if any."""
        same = select(decisions).where(decisions.c.model == self.model, decisions.c.trigger == trigger)
        return self._connection.execute(same).mappings().first()

    def decisions(self) -> Sequence[RowMapping]:
        """All decisions on the model, oldest event first."""
        query = select(decisions).where(decisions.c.model == self.model)
        return self._connection.execute(query.order_by(decisions.c.event_time, decisions.c.id)).mappings().all()

    def retraining(self) -> RowMapping | None:
        """The retraining under way, if any."""
        query = select(retrainings).where(retrainings.c.model == self.model, retrainings.c.ended_at.is_(None))
        return self._connection.execute(query).mappings().first()

    def rollouts(self) -> Sequence[RowMapping]:
        """Rollouts of the model, oldest first."""
        query = select(rollouts).where(rollouts.c.model == self.model).order_by(rollouts.c.id)
        return self._connection.execute(query).mappings().all()

    def record(self, within: timedelta, **row: Any) -> RowMapping:
        """Record a decision, and with the action `retrain` open its retraining; return the decision.

        Args:
            within: how long that retraining may be under way.
            row: trigger, action, reason, evidence, event_time; with version, scope, alert and retraining where it has them.

        Raises:
            InputError: it is to retrain, and a retraining is under way.
        """
        made = insert(decisions).values(model=self.model, recorded_at=datetime.now(UTC), **row)
        identity = self._connection.execute(made.returning(decisions.c.id)).scalar_one()
        if row["action"] == "retrain":
            begun = self.begin_retraining(cause_of(identity), within)
            changed = update(decisions).where(decisions.c.id == identity)
            self._connection.execute(changed.values(retraining=begun["id"]))
        return self._connection.execute(select(decisions).where(decisions.c.id == identity)).mappings().one()

    def begin_retraining(self, begun_by: str, within: timedelta) -> RowMapping:
        """Open a retraining, or find the one that this cause began; one that has ended is opened again.

        Raises:
            InputError: another one is under way.
        """
        if (other := self.retraining()) is not None and other["begun_by"] != begun_by:
            raise InputError(
                f"model '{self.model}': retraining {other['id']} by {other['begun_by']} is under way since "
                f"{other['begun_at']:%Y-%m-%d %H:%M} UTC: wait until its version was judged, or mark its run of "
                f"{self.model}.continuous_training as failed, before {begun_by} trains"
            )
        same = (retrainings.c.model == self.model, retrainings.c.begun_by == begun_by)
        now = datetime.now(UTC)
        open_ = {"expires_at": now + within, "ended_at": None, "reason": None}
        if not self._connection.execute(update(retrainings).where(*same).values(**open_)).rowcount:
            row = {"model": self.model, "begun_by": begun_by, "begun_at": now, **open_}
            self._connection.execute(insert(retrainings).values(**row))
        return self._connection.execute(select(retrainings).where(*same)).mappings().one()

    def _end_expired(self) -> None:
        """End a retraining that nobody ended in time: its run was deleted, or everything died with it."""
        now = datetime.now(UTC)
        late = update(retrainings).where(
            retrainings.c.model == self.model, retrainings.c.ended_at.is_(None), retrainings.c.expires_at < now
        )
        self._connection.execute(late.values(ended_at=now, reason="expired: no version was judged in time"))


def cause_of(decision: int) -> str:
    """What began the retraining of a decision.

    >>> cause_of(7)
    'decision 7'
    """
    return f"decision {decision}"
