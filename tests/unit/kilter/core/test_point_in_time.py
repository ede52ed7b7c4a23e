"""The newest known row of each question, against a search through all rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kilter.core.point_in_time import NONE, Questions

FOREVER = np.iinfo(np.int64).max

moment = st.integers(0, 12)
entity = st.integers(0, 2)
# Entity 3 is one that nobody asks about.
row = st.tuples(st.integers(0, 3), moment, st.integers(0, 6))
questions = st.lists(st.tuples(entity, moment), min_size=1, max_size=12)
pieces = st.lists(st.lists(row, max_size=8), max_size=5)


def column(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def asked(pairs: list[tuple[int, int]]) -> Questions:
    return Questions(column([entity for entity, _ in pairs]), column([time for _, time in pairs]))


def ask(pairs: list[tuple[int, int]], parts: list[list[tuple[int, int, int]]], longest: int) -> list[int]:
    """The answers as places among all rows, the rows given part by part as (entity, event time, how late)."""
    found, held, before = asked(pairs), column([]), 0
    for part in parts:
        entities, events, late = (column([one[place] for one in part]) for place in range(3))
        kept = found.add(entities, events + late, events, events + late)
        held = np.concatenate([held, before + np.arange(len(part))])[kept]
        before += len(part)
        assert len(held) <= len(pairs)
    answers = found.newest(longest)
    return [int(held[answer]) if answer != NONE else NONE for answer in answers]


def searched(pairs: list[tuple[int, int]], rows: list[tuple[int, int, int]], longest: int) -> list[int]:
    """The same by looking at every row for every question."""
    answers = []
    for entity, time in pairs:
        known = [
            (event, event + late, place)
            for place, (of, event, late) in enumerate(rows)
            if of == entity and event + late <= time and time - event <= longest
        ]
        answers.append(max(known)[2] if known else NONE)
    return answers


@given(questions, pieces, st.sampled_from([0, 1, 3, FOREVER]))
def test_answers_are_those_of_a_search_through_all_rows(pairs, parts, longest) -> None:
    """Ties, late rows, equal pairs, rows of nobody, ages at their limit, and questions before any row, in any order."""
    assert ask(pairs, parts, longest) == searched(pairs, [row for part in parts for row in part], longest)


def test_a_late_row_about_an_older_time_hides_no_newer_one() -> None:
    """Of time 4, known at 4; of time 2, known only at 6."""
    assert ask([(0, 7)], [[(0, 4, 0), (0, 2, 4)]], FOREVER) == [0]


def test_a_late_row_counts_from_when_it_arrived() -> None:
    assert ask([(0, 5), (0, 6)], [[(0, 1, 0), (0, 4, 2)]], FOREVER) == [0, 1]


def test_a_row_counts_until_it_is_as_old_as_allowed() -> None:
    assert ask([(0, 5), (0, 6)], [[(0, 2, 0)]], 3) == [0, NONE]


def test_of_equal_rows_the_last_one_counts() -> None:
    assert ask([(0, 5)], [[(0, 1, 0), (0, 1, 0)], [(0, 1, 0)]], FOREVER) == [2]


def test_without_rows_nothing_is_known() -> None:
    assert ask([(0, 5)], [], FOREVER) == [NONE]
