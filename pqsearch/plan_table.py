"""What genes mean: the table of knobs, which a journal carries once instead of a plan for every candidate."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any

from pqsearch.plan import LAYER_KNOBS, PLAN_FORMAT, LayerPlan, Plan
from pqsearch.problem import Genes

#: A knob's kind, the group or layer it belongs to, and what its levels stand for.
Row = tuple[str, str, Sequence[float]]


@dataclass(frozen=True)
class _Part:
    """A group's or a layer's share of a plan and of its canonical JSON, by the levels of its knobs: a search makes thousands of
    plans of few parts.
    """

    name: str
    levels: Callable[[Genes], Any]  # of its knobs, as they are looked up
    values: Mapping[Any, Any]
    texts: Mapping[Any, str]


class PlanTable:
    """Plans of genes (one level per row); the same before and after a journal. Knobs that have no row are untouched."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)
        columns: dict[str, dict[str, int]] = {}
        for column, (kind, name, _) in enumerate(self.rows):
            if kind in LAYER_KNOBS:
                columns.setdefault(name, {})[kind] = column
        self._layers = [self._layer(name, knobs) for name, knobs in columns.items()]
        self._groups = [
            self._group(name, column) for column, (kind, name, _) in enumerate(self.rows) if kind not in LAYER_KNOBS
        ]
        # In the order of canonical JSON.
        self._sorted = [sorted(parts, key=lambda part: part.name) for parts in (self._groups, self._layers)]

    def plan(self, genes: Genes) -> Plan:
        groups, layers = (
            {part.name: part.values[part.levels(genes)] for part in parts} for parts in (self._groups, self._layers)
        )
        return Plan(groups, layers)

    def hash(self, genes: Genes) -> str:
        """`plan(genes).hash`, from texts made once: a search hashes every candidate."""
        groups, layers = (",".join([part.texts[part.levels(genes)] for part in parts]) for parts in self._sorted)
        text = f'{{"format":{PLAN_FORMAT},"groups":{{{groups}}},"layers":{{{layers}}}}}'
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _group(self, name: str, column: int) -> _Part:
        values = dict(enumerate(self.rows[column][-1]))
        texts = {
            level: f'{json.dumps(name)}:{{"prune_rate":{json.dumps(float(rate))}}}' for level, rate in values.items()
        }
        return _Part(name, itemgetter(column), values, texts)

    def _layer(self, name: str, columns: Mapping[str, int]) -> _Part:
        levels = [range(len(self.rows[column][-1])) for column in columns.values()]
        values, texts = {}, {}
        for chosen in itertools.product(*levels):
            bits = {
                kind: int(self.rows[column][-1][level])
                for (kind, column), level in zip(columns.items(), chosen, strict=True)
            }
            key = chosen if len(chosen) > 1 else chosen[0]  # as itemgetter gives them
            values[key] = LayerPlan(**bits)
            texts[key] = f"{json.dumps(name)}:{json.dumps(asdict(values[key]), sort_keys=True, separators=(',', ':'))}"
        return _Part(name, itemgetter(*columns.values()), values, texts)

    def to_json(self) -> list[dict[str, Any]]:
        return [{"kind": kind, "name": name, "values": list(values)} for kind, name, values in self.rows]

    @classmethod
    def from_json(cls, data: Sequence[Mapping[str, Any]]) -> PlanTable:
        return cls([(row["kind"], row["name"], row["values"]) for row in data])
