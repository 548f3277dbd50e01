"""What NSGA-II remembers: the survivors of the whole history, whatever the order it came in."""

from __future__ import annotations

import numpy as np

from pqsearch.algorithms._archive import Archive
from pqsearch.algorithms._fronts import compared, crowding, fronts
from pqsearch.problem import FloatArray, Genes, IntArray, Outcome

#: Results that are compared with the others at once.
CHUNK = 256


class _Band:
    """The results of one rung that may still survive, by candidate id.

    One is dropped for good when `keep` others precede it: those that dominate it, and those that equal it and are older.
    Whoever precedes these precedes it too, so that the first `keep` of them are never dropped themselves, and every front
    that survivors can come from stays complete. Crowding alone would not do: who is crowded out now may be needed when a
    later result breaks up the front.
    """

    def __init__(self, keep: int, objectives: int) -> None:
        self._keep = keep
        self.ids: IntArray = np.empty(0, dtype=np.int64)
        self._values: FloatArray = np.empty((0, objectives))
        self._dominators: IntArray = np.empty(0, dtype=np.int64)
        self._elders: IntArray = np.empty(0, dtype=np.int64)

    def add(self, ids: IntArray, values: FloatArray) -> None:
        old = len(self.ids)
        self.ids = np.concatenate([self.ids, ids])
        self._values = np.concatenate([self._values, values])
        none_yet = np.zeros(len(ids), dtype=np.int64)
        self._dominators = np.concatenate([self._dominators, none_yet])
        self._elders = np.concatenate([self._elders, none_yet])
        not_worse, not_better = compared(values, self._values)
        older = ids[:, None] < self.ids
        self._dominators += (not_worse & ~not_better).sum(0)
        self._elders += (not_worse & not_better & older).sum(0)
        # The new ones were compared with each other above.
        not_worse, not_better, older = not_worse[:, :old], not_better[:, :old], older[:, :old]
        self._dominators[old:] += (not_better & ~not_worse).sum(1)
        self._elders[old:] += (not_worse & not_better & ~older).sum(1)
        kept = np.flatnonzero(self._dominators + self._elders < self._keep)
        self._take(kept[np.argsort(self.ids[kept])])

    def remove(self, id: int) -> None:
        """Forget a candidate that reached a higher rung, where it precedes everyone here."""
        (index,) = np.flatnonzero(self.ids == id)
        not_worse, not_better = compared(self._values[[index]], self._values)
        self._dominators -= (not_worse & ~not_better)[0]
        self._elders -= (not_worse & not_better)[0] & (id < self.ids)
        self._take(np.flatnonzero(self.ids != id))

    def first(self, number: int) -> list[int]:
        """The best candidates by (front, crowding, age)."""
        found = fronts(self._values, self._dominators, number)
        chosen: list[int] = []
        for front in range(len(self.ids)):
            if len(chosen) >= min(number, len(self.ids)):
                break
            members = np.flatnonzero(found == front)
            order = np.argsort(-crowding(self._values[members]), kind="stable")
            chosen += self.ids[members[order]].tolist()
        return chosen[:number]

    def _take(self, rows: IntArray) -> None:
        self.ids, self._values = self.ids[rows], self._values[rows]
        self._dominators, self._elders = self._dominators[rows], self._elders[rows]


class FrontArchive(Archive):
    """An archive whose `keep` best are those that environmental selection leaves: by (rung, front, crowding, age)."""

    def __init__(self, keep: int) -> None:
        super().__init__(keep=1)
        self._survivors = keep
        self._bands: dict[int, _Band] = {}
        self._fresh: dict[int, Outcome] = {}

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> bool:
        if not super().tell(id, genes, outcome):
            return False
        self._array = None
        if not outcome.failed:
            self._fresh[id] = outcome
            return True
        self._fresh.pop(id, None)
        if self._home(id) is not None:  # whom it had pushed out comes back
            self._bands = {}
            self._fresh = {id: outcome for id, _, outcome in self.told() if not outcome.failed}
        return True

    def ranked(self) -> list[Genes]:
        self._sort_in()
        chosen: list[int] = []
        for rung in sorted(self._bands, reverse=True):
            chosen += self._bands[rung].first(self._survivors - len(chosen))
        return [self._told[id][0] for id in chosen]

    def _sort_in(self) -> None:
        """Results wait until somebody asks: many at once cost little more than one."""
        by_rung: dict[int, list[int]] = {}
        for id, outcome in self._fresh.items():
            home = self._home(id)
            if home is not None:
                home.remove(id)
            by_rung.setdefault(outcome.rung, []).append(id)
        for rung, ids in by_rung.items():
            band = self._bands.setdefault(rung, _Band(self._survivors, len(self._fresh[ids[0]].values)))
            for start in range(0, len(ids), CHUNK):
                chunk = ids[start : start + CHUNK]
                values = np.array([self._fresh[id].values for id in chunk], dtype=np.float64)
                band.add(np.array(chunk, dtype=np.int64), values)
        self._fresh = {}

    def _home(self, id: int) -> _Band | None:
        return next((band for band in self._bands.values() if id in band.ids), None)
