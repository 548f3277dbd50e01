"""What genes mean: the table of knobs, which a journal carries once instead of a plan for every candidate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pqsearch.plan import LAYER_KNOBS, PLAN_FORMAT, LayerPlan, Plan
from pqsearch.problem import Genes

#: A knob's kind, the group or layer it belongs to, and what its levels stand for.
Row = tuple[str, str, Sequence[float]]


class PlanTable:
    """Plans of genes (one level per row); the same before and after a journal. Knobs that have no row are untouched."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)
        # Names in the order of canonical JSON, each with the columns of its knobs.
        columns: dict[str, dict[str, int]] = {}
        for column, (kind, name, _) in enumerate(self.rows):
            if kind in LAYER_KNOBS:
                columns.setdefault(name, {})[kind] = column
        self._layers = [(json.dumps(name), columns[name]) for name in sorted(columns)]
        groups = sorted((name, column) for column, (kind, name, _) in enumerate(self.rows) if kind not in LAYER_KNOBS)
        self._groups = [(json.dumps(name), column) for name, column in groups]
        self._untouched = {kind: str(bits) for kind, bits in asdict(LayerPlan()).items()}
        self._texts = [
            [str(int(value)) if kind in LAYER_KNOBS else json.dumps(float(value)) for value in values]
            for kind, _, values in self.rows
        ]

    def plan(self, genes: Genes) -> Plan:
        groups: dict[str, float] = {}
        bits: dict[str, dict[str, int]] = {}
        for (kind, name, values), level in zip(self.rows, genes, strict=True):
            if kind in LAYER_KNOBS:
                bits.setdefault(name, {})[kind] = int(values[level])
            else:
                groups[name] = values[level]
        return Plan(groups, {name: LayerPlan(**knobs) for name, knobs in bits.items()})

    def hash(self, genes: Genes) -> str:
        """`plan(genes).hash`, from texts made once: a search hashes every candidate."""
        level = [texts[gene] for texts, gene in zip(self._texts, genes, strict=True)]
        groups = ",".join(f'{name}:{{"prune_rate":{level[column]}}}' for name, column in self._groups)
        layers = ",".join(f"{name}:{{{self._bits(columns, level)}}}" for name, columns in self._layers)
        text = f'{{"format":{PLAN_FORMAT},"groups":{{{groups}}},"layers":{{{layers}}}}}'
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _bits(self, columns: Mapping[str, int], level: Sequence[str]) -> str:
        return ",".join(
            f'"{kind}":{level[columns[kind]] if kind in columns else self._untouched[kind]}'
            for kind in sorted(self._untouched)
        )

    def to_json(self) -> list[dict[str, Any]]:
        return [{"kind": kind, "name": name, "values": list(values)} for kind, name, values in self.rows]

    @classmethod
    def from_json(cls, data: Sequence[Mapping[str, Any]]) -> PlanTable:
        return cls([(row["kind"], row["name"], row["values"]) for row in data])
