"""What every population algorithm remembers: who was asked, who was told, and the best in the order they rank."""

from __future__ import annotations

from bisect import insort

import numpy as np

from pqsearch.problem import Genes, IntArray, Outcome

#: How a success ranks, smallest first: by rung reached, then value, then age.
Key = tuple[int, tuple[float, ...], int]


class Archive:
    """A fold over `asked` and `tell` events. The word from a candidate's highest rung counts, whenever it came.

    The `keep` best distinct genes are held in order, so that a word costs the same after 100,000 others.
    """

    def __init__(self, keep: int = 100) -> None:
        self.asked: dict[int, Genes] = {}
        self.seen: set[Genes] = set()
        self._keep = keep
        self._told: dict[int, tuple[Genes, Outcome]] = {}
        self._best: list[tuple[Key, Genes]] = []
        self._keys: dict[Genes, Key] = {}
        self._array: IntArray | None = None

    def add(self, id: int, genes: Genes) -> None:
        self.asked[id] = genes
        self.seen.add(genes)

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> bool:
        """Take an outcome in; False where it says nothing new."""
        before = self._told.get(id)
        if before is not None and _depth(outcome) <= _depth(before[1]):
            return False
        self._told[id] = (genes, outcome)
        self.seen.add(genes)
        if not outcome.failed:
            self._rank(key_of(id, outcome), genes)
        elif before is not None and self._keys.get(genes) == key_of(id, before[1]):
            self._rank_all()  # it failed further up: whom it had pushed out comes back
        return True

    def told(self) -> list[tuple[int, Genes, Outcome]]:
        """Everything told, by candidate id: the order of arrival does not matter."""
        return [(id, *self._told[id]) for id in sorted(self._told)]

    @property
    def heard(self) -> int:
        """How many candidates there is word of."""
        return len(self._told)

    def heard_after(self, id: int) -> int:
        """How many of the candidates after this one there is word of."""
        return sum(other > id for other in self._told)

    def outcome(self, id: int) -> Outcome | None:
        """The word that counts for a candidate, None before there is one."""
        told = self._told.get(id)
        return None if told is None else told[1]

    def ranked(self) -> list[Genes]:
        """The `keep` best distinct genes of successful candidates, best first."""
        return [genes for _, genes in self._best]

    def keyed(self) -> list[tuple[Key, Genes]]:
        """`ranked` with what each is ranked by; not to be written to."""
        return self._best

    def parents(self) -> IntArray:
        """`ranked` as an array (plans, knobs); not to be written to."""
        if self._array is None:
            self._array = np.array(self.ranked(), dtype=np.int64)
        return self._array

    def _rank(self, key: Key, genes: Genes) -> None:
        known = self._keys.get(genes)
        if known is not None:
            if known <= key:
                return
            self._best.remove((known, genes))
        elif len(self._best) >= self._keep:
            if self._best[-1][0] <= key:
                return
            del self._keys[self._best.pop()[1]]
        insort(self._best, (key, genes))
        self._keys[genes] = key
        self._array = None

    def _rank_all(self) -> None:
        self._best, self._keys, self._array = [], {}, None
        for id, genes, outcome in self.told():
            if not outcome.failed:
                self._rank(key_of(id, outcome), genes)


def key_of(id: int, outcome: Outcome) -> Key:
    """Where a success ranks among others."""
    return -outcome.rung, outcome.values, id


def _depth(outcome: Outcome) -> tuple[int, bool]:
    """How far a candidate had come; it can fail only after what it reached."""
    return outcome.rung, outcome.failed
