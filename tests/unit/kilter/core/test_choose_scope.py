"""What to train on: each row of the table in `choose_scope`."""

from tests.unit.kilter.core.records import DAY, START, learner, record

from kilter.core.choose_scope import choose_scope
from kilter.core.decay import Decay, decay
from kilter.core.record import Record
from kilter.core.scope import Scope
from kilter.core.verdict import Judgement, Verdict

CALM = Decay(Judgement(name="decay", verdict=Verdict.PASSED, reason="calm"), None, False)


def chosen(known: Record, decayed: Decay | None = None) -> tuple[Scope, tuple[int, ...]]:
    return choose_scope(known, decayed or decay(known.learner(known.champion), known))


def test_where_nothing_rose_all_history_teaches() -> None:
    scope, windows = chosen(record(8, [learner(1, [0, 1], [0.2] * 6)]))
    assert (scope.kind, scope.spans) == ("all", ())
    assert windows == tuple(range(8))


def test_a_model_brought_back_learns_from_its_own_regime() -> None:
    """It knows windows 0, 1, 4 and 5, and came back after window 8; 9 is its second window since."""
    model = learner(1, [0, 1, 4, 5], [0.2] * 4)
    scope, windows = chosen(record(10, [model], since=8))
    assert scope.kind == "regime"
    assert windows == (0, 1, 4, 5, 8, 9)
    assert scope.spans == (
        (START, START + 2 * DAY),
        (START + 4 * DAY, START + 6 * DAY),
        (START + 8 * DAY, START + 10 * DAY),
    )


def test_after_a_change_only_what_came_since_teaches() -> None:
    scope, windows = chosen(record(8, [learner(1, [0, 1], [0.2, 0.2, 0.2, 0.9, 0.9, 0.9])]))
    assert scope.kind == "recent"
    assert windows == (5, 6, 7)
    assert "rows before day 5 are of another world" in scope.reason


def test_a_change_found_before_bounds_what_came_since() -> None:
    model = learner(1, [0, 1], [0.2, 0.2, 0.2, 0.9, 0.9, 0.9])
    _, windows = chosen(record(8, [model], changed=6))
    assert windows == (6, 7)


def test_other_shares_of_the_classes_leave_every_row_true() -> None:
    known = record(6, [learner(1, [0, 1], [0.2, 0.2, 0.9, 0.9])])
    explained = decay(known.learner(1), known)._replace(explained=True)
    scope, windows = chosen(known, explained)
    assert scope.kind == "all"
    assert windows == tuple(range(6))
    assert "only the shares of the classes changed" in scope.reason


def test_where_the_world_moves_the_newer_half_teaches() -> None:
    """The champion is new and calm; the model before it rose."""
    old, new = learner(1, [0, 1], [0.2] * 4 + [0.9] * 4), learner(2, range(8), [0.2, 0.2])
    scope, windows = chosen(record(10, [old, new], champion=2))
    assert scope.kind == "recent"
    assert windows == (5, 6, 7, 8, 9)


def test_the_newer_half_is_four_windows_at_least() -> None:
    old, new = learner(1, [0], [0.2, 0.2, 0.9, 0.9]), learner(2, range(4), [0.2])
    _, windows = chosen(record(5, [old, new], champion=2))
    assert windows == (1, 2, 3, 4)


def test_history_that_was_seen_to_help_is_kept_through_a_change() -> None:
    """Version 1 of all rows beat version 2 of recent ones until the change in window 9."""
    whole = learner(1, range(4), [0.2] * 5 + [0.9, 0.9])
    recent = learner(2, [2, 3, 4], [0.3] * 4 + [0.9, 0.9], kind="recent")
    scope, windows = chosen(record(11, [whole, recent], champion=1))
    assert windows == tuple(range(11))
    assert "version 1 of all history loses 0.100 less than version 2 of recent rows" in scope.reason


def test_recent_rows_that_were_seen_to_help_are_not_overruled() -> None:
    whole = learner(1, range(4), [0.3] * 5 + [0.9, 0.9])
    recent = learner(2, [2, 3, 4], [0.2] * 4 + [0.9, 0.9], kind="recent")
    scope, _ = chosen(record(11, [whole, recent], champion=2))
    assert scope.kind == "recent"


def test_what_was_found_out_about_history_is_forgotten() -> None:
    whole = learner(1, range(4), [0.2] * 25 + [0.9, 0.9])
    recent = learner(2, [2, 3, 4], [0.3] * 24 + [0.9, 0.9], kind="recent")
    scope, windows = chosen(record(31, [whole, recent], champion=1))
    assert scope.kind == "recent"
    assert windows == (29, 30)
