"""What genes mean: the table of knobs, which a journal carries once instead of a plan for every candidate."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from pqsearch.plan import GROUP_KNOBS, PLAN_FORMAT, SHARES, LayerPlan, Plan, kinds_set
from pqsearch.problem import Genes


class Row(NamedTuple):
    """A knob's kind, the group or layer it belongs to, what its levels stand for, and further layers that go with it."""

    kind: str
    name: str
    values: Sequence[float]
    tied: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        tied = {"tied": list(self.tied)} if self.tied else {}
        return {"kind": self.kind, "name": self.name, "values": list(self.values), **tied}


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

    def __init__(self, rows: Iterable[Row | tuple[str, str, Sequence[float]]]) -> None:
        self.rows = [Row(*row) for row in rows]
        columns: dict[str, dict[str, int]] = {}
        for column, row in enumerate(self.rows):
            if row.kind not in GROUP_KNOBS:
                for name in (row.name, *row.tied):
                    columns.setdefault(name, {}).update(dict.fromkeys(kinds_set(row.kind), column))
        self._layers = [self._layer(name, knobs) for name, knobs in columns.items()]
        self._groups = [
            self._group(row.name, column) for column, row in enumerate(self.rows) if row.kind in GROUP_KNOBS
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
        values = dict(enumerate(self.rows[column].values))
        texts = {
            level: f'{json.dumps(name)}:{{"prune_rate":{json.dumps(float(rate))}}}' for level, rate in values.items()
        }
        return _Part(name, itemgetter(column), values, texts)

    def _layer(self, name: str, columns: Mapping[str, int]) -> _Part:
        # Kinds that are one knob are on the same level.
        own = list(dict.fromkeys(columns.values()))
        levels = [range(len(self.rows[column].values)) for column in own]
        values, texts = {}, {}
        for chosen in itertools.product(*levels):
            found = {kind: self.rows[column].values[chosen[own.index(column)]] for kind, column in columns.items()}
            settings = {kind: float(value) if kind in SHARES else int(value) for kind, value in found.items()}
            key = chosen if len(chosen) > 1 else chosen[0]  # as itemgetter gives them
            values[key] = LayerPlan(**settings)  # type: ignore[arg-type]
            text = json.dumps(values[key].to_json(), sort_keys=True, separators=(",", ":"))
            texts[key] = f"{json.dumps(name)}:{text}"
        return _Part(name, itemgetter(*own), values, texts)

    def to_json(self) -> list[dict[str, Any]]:
        return [row.to_json() for row in self.rows]

    @classmethod
    def from_json(cls, data: Sequence[Mapping[str, Any]]) -> PlanTable:
        return cls(Row(row["kind"], row["name"], row["values"], tuple(row.get("tied", ()))) for row in data)
