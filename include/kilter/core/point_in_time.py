"""Which row was the newest known at each moment that is asked about: one pass over rows in any order, in memory of the questions.

A row tells of an event time, and may be used from `available` on, which is later where it arrived late. Each row is put
to the earliest question of its entity that may use it, where only the newest one stays; the newest of a question
and of all earlier ones of its entity is then its answer. No order of rows can go wrong: one that arrived late and
tells of an older time never hides a newer one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

_NEVER = np.iinfo(np.int64).min
NONE = -1
"""In place of a row: there is none."""


class Questions:
    """Entities at moments, and the newest row known of each so far.

    Args:
        entities: the entity of each question, as a number from 0 on, shape (questions,).
        times: its moment, shape (questions,). The same pair may stand more than once.

    >>> asked = Questions(np.array([0, 0, 1]), np.array([10, 20, 20]))
    >>> asked.add(entities=np.array([0, 0]), available=np.array([5, 15]), events=np.array([5, 4]), created=np.array([5, 15]))
    array([0, 1])
    >>> asked.newest(longest=100)
    array([ 0,  0, -1])
    """

    def __init__(self, entities: Integers, times: Integers) -> None:
        self._order = np.lexsort((times, entities))
        self._entities, self._times = entities[self._order], times[self._order]
        self._moments = np.unique(times)
        self._keys = self._key(self._entities, self._times)
        self._events = np.full(len(times), _NEVER)
        self._created = np.full(len(times), _NEVER)
        self._rows = np.full(len(times), NONE)

    def add(self, entities: Integers, available: Integers, events: Integers, created: Integers) -> Integers:
        """Look at rows; of two that tell of the same event time the one created later is newer, then the later one given.

        Returns:
            Which rows to hold on to, in the order in which `newest` counts them: first those of earlier calls that are
            still needed, by their place among those held, then new ones by their place here, counted on from these.
        """
        held = int(self._rows.max(initial=NONE)) + 1
        first = np.searchsorted(self._keys, self._key(entities, available))
        fits = np.flatnonzero(first < len(self._keys))
        fits = fits[self._entities[first[fits]] == entities[fits]]
        best = self._newest_of(first[fits], fits, events, created)
        self._take_newer(best, events, created, held)
        return self._renumbered()

    def newest(self, longest: int) -> Integers:
        """The place of each question's row among those held, `NONE` where none is known or it is more than `longest` old."""
        count = len(self._rows)
        order = np.lexsort((self._created, self._events))
        ranks = np.empty(count, np.int64)
        ranks[order] = np.arange(count)
        # Entities rise, so that the greatest so far is always of the same entity.
        so_far = order[np.maximum.accumulate(self._entities * count + ranks) % max(count, 1)]
        known = self._rows[so_far] != NONE
        known[known] = self._times[known] - self._events[so_far[known]] <= longest
        answers = np.empty(count, np.int64)
        answers[self._order] = np.where(known, self._rows[so_far], NONE)
        return answers

    def _key(self, entities: Integers, times: Integers) -> Integers:
        """One number for entity and time, in their order; a time that nobody asks about counts as the next that is."""
        return entities * (len(self._moments) + 1) + np.searchsorted(self._moments, times)

    def _newest_of(self, places: Integers, rows: Integers, events: Integers, created: Integers) -> Integers:
        """Of rows put to questions, the newest of each question."""
        latest = np.full(len(self._rows), _NEVER)
        np.maximum.at(latest, places, events[rows])
        last = np.flatnonzero(events[rows] == latest[places])
        last = last[np.argsort(created[rows[last]], kind="stable")]
        best = np.full(len(self._rows), NONE)
        best[places[last]] = rows[last]  # of several, numpy keeps the last one
        return best

    def _take_newer(self, best: Integers, events: Integers, created: Integers, held: int) -> None:
        places = np.flatnonzero(best != NONE)
        rows = best[places]
        old, new = self._events[places], events[rows]
        newer = (new > old) | ((new == old) & (created[rows] >= self._created[places]))
        places, rows = places[newer], rows[newer]
        self._events[places], self._created[places] = events[rows], created[rows]
        self._rows[places] = held + rows

    def _renumbered(self) -> Integers:
        used = np.flatnonzero(self._rows != NONE)
        kept, self._rows[used] = np.unique(self._rows[used], return_inverse=True)
        return kept
