"""Which groups and layers knobs set, looked up for many knobs at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pqsearch.plan import kinds_set
from pqsearch.problem import IntArray
from search_spaces.knobs import Knob


class Targets:
    """The targets of a table of knobs, for each kind that they set."""

    def __init__(self, knobs: Sequence[Knob]) -> None:
        kinds = list(dict.fromkeys(kind for knob in knobs for kind in kinds_set(knob.kind)))
        self._sets = {kind: np.array([kind in kinds_set(knob.kind) for knob in knobs]) for kind in kinds}
        self._flat = np.array([target for knob in knobs for target in knob.targets])
        self._counts = np.array([len(knob.targets) for knob in knobs])
        self._first = np.cumsum(self._counts) - self._counts
        self._single = bool((self._counts == 1).all())

    def of(self, knobs: IntArray) -> Iterator[tuple[str, IntArray, IntArray]]:
        """Each kind that `knobs` (which may repeat) set, with the places in `knobs` of those that do and their targets, a place
        for each target.
        """
        for kind, sets in self._sets.items():
            places = np.flatnonzero(sets[knobs])
            mine = knobs[places]
            if self._single:
                yield kind, places, self._flat[mine]
                continue
            counts = self._counts[mine]
            # Counts within each knob's own run of targets.
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            yield kind, np.repeat(places, counts), self._flat[np.repeat(self._first[mine], counts) + within]
