"""What every population algorithm remembers: who was asked, who was told, and in which order they rank."""

from __future__ import annotations

from pqsearch.problem import Genes, Outcome


class Archive:
    """A fold over `asked` and `tell` events. The word from a candidate's highest rung counts, whenever it came."""

    def __init__(self) -> None:
        self.asked: dict[int, Genes] = {}
        self.seen: set[Genes] = set()
        self._told: dict[int, tuple[Genes, Outcome]] = {}
        self._ranked: list[Genes] | None = None

    def add(self, id: int, genes: Genes) -> None:
        self.asked[id] = genes
        self.seen.add(genes)

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        before = self._told.get(id)
        if before is None or _depth(outcome) >= _depth(before[1]):
            self._told[id] = (genes, outcome)
        self.seen.add(genes)
        self._ranked = None

    def told(self) -> list[tuple[int, Genes, Outcome]]:
        """Everything told, by candidate id: the order of arrival does not matter."""
        return [(id, *self._told[id]) for id in sorted(self._told)]

    def ranked(self) -> list[Genes]:
        """Distinct genes of successful candidates, best first: by rung reached, then value, then age."""
        if self._ranked is None:
            rows = [
                (-outcome.rung, outcome.values, id, genes) for id, genes, outcome in self.told() if not outcome.failed
            ]
            self._ranked = list(dict.fromkeys(genes for *_, genes in sorted(rows)))
        return self._ranked


def _depth(outcome: Outcome) -> tuple[int, bool]:
    """How far a candidate had come; it can fail only after what it reached."""
    return outcome.rung, outcome.failed
