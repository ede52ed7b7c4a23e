"""What to train on: all history, what came since the last change, or the champion's own regime."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from kilter.core.decay import Decay, moves
from kilter.core.record import Record, gain
from kilter.core.recovery import unrecovered
from kilter.core.scope import Kind, Scope
from kilter.core.track_record import LEAST_GAIN

_FEWEST = 4
"""Windows that *recent* takes at least where no change is known."""
_MOSTLY_RIGHT = 0.5
"""Share of its skill that a decayed champion must have kept for older rows to be worth more than they mislead."""
_MEMORY = 12
"""Windows for which what was found out about history counts."""


def choose_scope(record: Record, decayed: Decay) -> tuple[Scope, tuple[int, ...]]:
    """Choose the windows to train on, and say why.

    | what the record shows                                          | windows                                        |
    | -------------------------------------------------------------- | ---------------------------------------------- |
    | a training with older rows won back less than half of a decay  | those since the change                         |
    | since the last change no model's loss rose                      | the champion's own and all since               |
    | lately a model of all history, not the newer, beat one of recent rows | the champion's own and all since        |
    | the champion decayed, other shares of the classes explain it,  | the same: no row became wrong, or              |
    | or it keeps most of its skill; and recent rows alone           | older rows are still mostly right              |
    | did not help lately                                            |                                                |
    | the champion decayed                                           | those since the change                         |
    | else: the world moves                                          | the newer half of the champion's, and all since |

    The champion's own windows and all since its change are *all* history, or where it leaves out other regimes' windows,
    its *regime*.
    """
    own = _own(record)
    kind: Kind = "all" if len(own) == record.now + 1 else "regime"
    if decayed.changed is None and (left := unrecovered(record)) is not None:
        since = tuple(range(record.changed, record.now + 1))
        reason = f"with older rows the last training won back {left.regained:.3f} of the {left.lost:.3f} that were lost"
        return _scope(record, "recent", since, reason)
    if decayed.changed is None and not moves(record):
        return _scope(record, kind, own, "no loss has risen since the last change: what was true stays true")
    if (told := _history_helps(record, decayed)) is not None:
        return _scope(record, kind, own, told)
    if decayed.changed is not None:
        if decayed.explained and not _recency_helped(record):
            return _scope(record, kind, own, "only the shares of the classes changed, so no row became wrong")
        if decayed.kept > _MOSTLY_RIGHT and not _recency_helped(record):
            reason = (
                f"the champion keeps {decayed.kept:.0%} of its skill, so most of what older rows teach is still true"
            )
            return _scope(record, kind, own, reason)
        changed = tuple(range(max(decayed.changed, record.changed), record.now + 1))
        return _scope(record, "recent", changed, f"rows before {record.names[changed[0]]} are of another world")
    newer = own[-max(len(own) // 2, min(_FEWEST, len(own))) :]
    return _scope(record, "recent", newer, "losses rise with time, and nothing shows that older rows help")


def _own(record: Record) -> tuple[int, ...]:
    """The champion's windows, and those since it was chosen."""
    champion = record.learner(record.champion)
    begin = max(record.since, champion.learned + 1) if record.since else champion.learned + 1
    return tuple(sorted({*champion.windows, *range(begin, record.now + 1)}))


def _history_helps(record: Record, decayed: Decay) -> str | None:
    """Whether a model of all history, trained before or with a model of recent rows, beat it in the world before this change."""
    last = record.now if decayed.changed is None else decayed.changed - 1
    lately = [item for item in record.learners if record.now - _MEMORY < item.learned < last]
    recent = max((item for item in lately if item.kind == "recent"), key=lambda item: item.learned, default=None)
    if recent is None:
        return None
    whole = [item for item in record.learners if item.kind != "recent" and item.learned <= recent.learned]
    older = max(whole, key=lambda item: item.learned, default=None)
    if older is None:
        return None
    gained = gain(older, recent, recent.learned + 1, last)
    if not gained.rows or gained.value <= gained.error:
        return None
    return (
        f"version {older.version} of all history loses {gained.value:.3f} less than version {recent.version} of recent rows, "
        f"on {gained.rows} rows after both"
    )


def _recency_helped(record: Record) -> bool:
    """Whether lately a training on recent rows alone surely gained over the champion of its time."""
    for past in reversed(record.trainings):
        pair = record.pair(past) if record.now - past.window <= _MEMORY else None
        if pair is not None and pair[0].kind == "recent":
            new, old = pair
            gained = gain(new, old, new.learned + 1, min(record.now, past.window + _FEWEST))
            return gained.value - gained.error > LEAST_GAIN
    return False


def _scope(record: Record, kind: Kind, windows: Sequence[int], reason: str) -> tuple[Scope, tuple[int, ...]]:
    spans = () if len(windows) == record.now + 1 else _spans(record, windows)
    return Scope(kind="all" if not spans else kind, spans=spans, reason=reason), tuple(windows)


def _spans(record: Record, windows: Sequence[int]) -> tuple[tuple[datetime, datetime], ...]:
    """Neighbouring windows as one stretch of event time."""
    runs = groupby(enumerate(windows), key=lambda item: item[1] - item[0])
    joined = [[place for _, place in run] for _, run in runs]
    return tuple((record.spans[run[0]][0], record.spans[run[-1]][1]) for run in joined)
