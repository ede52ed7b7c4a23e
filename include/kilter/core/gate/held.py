"""Which candidate is held back and can be judged again, now that more is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class LastVerdict:
    """The newest verdict on any version of a model.

    Args:
        as_of: event time up to which labels were known to it.
        at: when it was recorded.
    """

    version: int
    action: str | None
    as_of: datetime | None
    at: datetime


@dataclass(frozen=True)
class Choice:
    """A version to judge, or none, and why."""

    version: int | None
    reason: str


def choose(last: LastVerdict, promoted_at: datetime | None, known: datetime) -> Choice:
    """The held candidate, unless another version overtook it or nothing new is known.

    A version that was judged after it is the `last` one; so of several held candidates only the newest counts.

    Args:
        promoted_at: when a version was promoted last; None when none was.
        known: event time up to which labels are known now.

    >>> from datetime import UTC
    >>> day = [datetime(2024, 1, number, tzinfo=UTC) for number in range(1, 5)]
    >>> choose(LastVerdict(7, "hold", as_of=day[0], at=day[1]), promoted_at=None, known=day[2]).version
    7
    """
    if last.action != "hold":
        action = f"'{last.action}'" if last.action else "nothing that is kept"
        return Choice(None, f"no candidate is held: the newest verdict, on version {last.version}, led to {action}")
    if promoted_at is not None and promoted_at > last.at:
        return Choice(None, f"version {last.version} was held, and a version was promoted since")
    if last.as_of is not None and known <= last.as_of:
        return Choice(
            None, f"version {last.version} is held, and was judged with all labels known by {last.as_of.isoformat()}"
        )
    return Choice(last.version, f"version {last.version} is held, and labels until {known.isoformat()} are known now")
