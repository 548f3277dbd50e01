"""The search space of one model under one set of budgets: genes to plans and back, costs, repair."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np

from pqsearch import rooms
from pqsearch.errors import UserError
from pqsearch.plan import FLOAT_BITS, SHARES, Change, ModelInfo, Plan, channels_kept, kinds_set
from pqsearch.plan_table import PlanTable
from pqsearch.problem import FloatArray, Genes, IntArray, Prior
from pqsearch.sparsity import Pattern
from search_spaces.costs import Costs, Decoded, costs_known
from search_spaces.feasible import find_feasible, reach
from search_spaces.knobs import Knob, knobs
from search_spaces.latency import LatencyTable
from search_spaces.repair import Repair
from search_spaces.rows import ANYWHERE
from search_spaces.targets import Targets
from search_spaces.ties import tie


class Space:
    """A `Problem` over a model's knobs; also knows what the genes mean.

    `objectives` are costs that a search wants low: filling a plan's slack never raises them. `latency` is a table of
    measurements that has every layer of the model; without it there is no `latency_ms`.

    Raises `UserError` at once for pins that name nothing and for budgets that no plan meets.
    """

    def __init__(
        self,
        info: ModelInfo,
        *,
        prune_rate: Sequence[float] = (0.0,),
        weight_bits: Sequence[int] = (FLOAT_BITS,),
        act_bits: Sequence[int] = (FLOAT_BITS,),
        sparsity: Sequence[float] = (0.0,),
        sparsity_pattern: Pattern = ANYWHERE,
        channel_multiple: int = 1,
        pin: Mapping[str, Mapping[str, float]] | None = None,
        layers: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
        tied_layers: Sequence[Sequence[str]] = (),
        tied_bits: bool = False,
        budgets: Mapping[str, float] | None = None,
        objectives: Sequence[str] = (),
        per_channel_steps: bool = True,
        latency: LatencyTable | None = None,
    ) -> None:
        self.info, self.latency = info, latency
        every = knobs(info, prune_rate, weight_bits, act_bits, channel_multiple, pin or {}, layers or {}, sparsity)
        self.knobs = tie(info, every, pin or {}, tied_layers, tied_bits)
        if all(len(knob.values) == 1 for knob in self.knobs):
            raise UserError(
                "space: nothing varies: every knob has one level. Give prune_rate, weight_bits, act_bits or sparsity more; "
                f"{sum(group.prunable for group in info.groups)} of {len(info.groups)} groups can be pruned"
            )
        self.kinds = tuple(knob.kind for knob in self.knobs)
        self.values = tuple(knob.values for knob in self.knobs)
        self.levels = tuple(len(values) for values in self.values)
        self.table = PlanTable([knob.row for knob in self.knobs])
        asked = {"prune_rate": prune_rate, "weight_bits": weight_bits, "act_bits": act_bits, "sparsity": sparsity}
        levels = {kind: _all_levels(kind, usual, layers) for kind, usual in asked.items()}
        if tied_bits:
            # What is left of a kind by itself is pinned, or its layer's other kind is.
            levels |= {kind: _own_levels(kind, self.knobs) for kind in ("bits", "weight_bits", "act_bits")}
        self.grid = {
            kind: tuple(sorted(values, reverse=kind in SHARES)) for kind, values in levels.items() if kind in self.kinds
        }
        self.budgets = tuple(budgets or {})
        self.limits: FloatArray = np.array([float(limit) for limit in (budgets or {}).values()])
        self._costs = Costs(info, self.budgets, per_channel_steps, latency, sparsity_pattern)
        self._all_costs = Costs(info, costs_known(latency), per_channel_steps, latency, sparsity_pattern)
        self._sparse = "sparsity" in self.kinds
        self._targets = Targets(self.knobs)
        self._meanings = np.zeros((len(self.knobs), max(self.levels)))
        for index in range(len(self.knobs)):
            self._meanings[index, : self.levels[index]] = self._table(index)
        self.prior: Prior | None = None
        self.planned: IntArray | None = None
        anchor = find_feasible(self)
        raising = Costs(info, tuple(objectives), per_channel_steps, latency, sparsity_pattern)
        #: Kinds of knobs that slack is not given to.
        self.spared = tuple(kind for kind in dict.fromkeys(self.kinds) if len(raising.changed_by(kind)))
        self._repair = Repair(self, self._costs, anchor)

    def _table(self, knob: int) -> FloatArray:
        """Kept channels (prune_rate), bits or sparsity of each level."""
        found = self.knobs[knob]
        if found.kind == "prune_rate":
            channels = self.info.groups[found.targets[0]].channels
            return np.array([channels_kept(channels, rate) for rate in found.values], dtype=np.float64)
        return np.array(found.values, dtype=np.float64)

    def expand(self, genes: IntArray) -> Decoded:
        """Genes (plans, knobs) as kept channels, bits and sparsity."""
        plans = Decoded(
            np.tile([group.channels for group in self.info.groups], (len(genes), 1)),
            np.full((len(genes), len(self.info.layers)), FLOAT_BITS),
            np.full((len(genes), len(self.info.layers)), FLOAT_BITS),
            np.zeros((len(genes), len(self.info.layers))) if self._sparse else None,
        )
        self.write(plans, np.arange(len(self.knobs)), genes)
        return plans

    def meaning(self, knobs: IntArray | int, levels: IntArray) -> FloatArray:
        """Kept channels, bits or sparsity at levels of knobs, of a shape that both have or come to by broadcasting."""
        found: FloatArray = self._meanings[knobs, levels]
        return found

    def write(self, plans: Decoded, knobs: IntArray, genes: IntArray) -> None:
        """Set some knobs of a population, in place, to the levels in the columns of `genes`."""
        values = self.meaning(knobs, genes)
        for kind, places, targets in self._targets.of(knobs):
            self.side(plans, kind)[:, targets] = values[:, places]

    def write_each(self, plans: Decoded, knobs: IntArray, levels: IntArray) -> None:
        """Set one knob of each plan, in place, to a level: knobs and levels (plans,)."""
        values = self.meaning(knobs, levels)
        for kind, places, targets in self._targets.of(knobs):
            self.side(plans, kind)[places, targets] = values[places]

    @staticmethod
    def side(plans: Decoded, kind: str) -> IntArray | FloatArray:
        """The array that a kind is kept in."""
        found: IntArray | FloatArray = getattr(plans, "kept" if kind == "prune_rate" else kind)
        return found

    def rows_of(self, knob: int) -> IntArray:
        """Cost rows that a knob changes."""
        found = self.knobs[knob]
        return self._costs.shapes.touched(found.targets[0]) if found.kind == "prune_rate" else np.sort(found.targets)

    def with_prior(self, prior: Prior | None, planned: IntArray | None = None) -> Space:
        """The same space, knowing more; `planned` are plans (plans, knobs) that were solved for by that."""
        found = copy.copy(self)
        found.prior, found.planned = prior, planned
        return found

    def changes(self) -> list[tuple[int, int, Change]]:
        """Every single step away from the dearest plan: knob, level, and what it means."""
        return [
            (index, level, Change(knob.kind, knob.name, value, knob.names[1:]))
            for index, knob in enumerate(self.knobs)
            for level, value in enumerate(knob.values[:-1])
        ]

    def costs(self, genes: IntArray) -> FloatArray:
        """Costs (plans, budgets) of the budgets asked for."""
        return self._costs(self.expand(np.atleast_2d(genes)))

    def repair(self, genes: IntArray) -> IntArray:
        """Genes (plans, knobs) under every budget and filled: no knob can go up a level without breaking one."""
        return self._repair(np.atleast_2d(genes))

    def reach(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest value that each budget asked for can take, all others aside."""
        return reach(self)

    def decode(self, genes: Genes) -> Plan:
        """The plan that genes stand for; names every prunable group and every layer."""
        return self.table.plan(genes)

    def encode(self, plan: Plan) -> Genes:
        """The nearest genes of a plan: of layers that are tied, those that all are nearest to together.

        Raises `UserError` for names that the model does not have.
        """
        self._check_names(plan)
        genes = []
        for knob in self.knobs:
            if knob.kind == "prune_rate":
                wanted: list[float] = [plan.prune_rate(knob.name)]
            else:
                wanted = [getattr(plan.layer(name), kind) for name in knob.names for kind in kinds_set(knob.kind)]
            away = [sum(abs(value - one) for one in wanted) for value in knob.values]
            genes.append(away.index(min(away)))
        return tuple(genes)

    def costs_of(self, plan: Plan) -> dict[str, float]:
        """Every cost there is, of any plan for this model, also one whose values are no levels here."""
        layers = [plan.layer(layer.name) for layer in self.info.layers]
        plans = Decoded(
            np.array([[channels_kept(group.channels, plan.prune_rate(group.name)) for group in self.info.groups]]),
            np.array([[layer.weight_bits for layer in layers]]),
            np.array([[layer.act_bits for layer in layers]]),
            np.array([[layer.sparsity for layer in layers]]) if any(layer.sparsity for layer in layers) else None,
        )
        return dict(zip(self._all_costs.budgets, map(float, self._all_costs(plans)[0]), strict=True))

    def costs_changed_by(self, kind: str) -> set[str]:
        """The costs, of all there are, that a kind of knob can change."""
        return {self._all_costs.budgets[index] for index in self._all_costs.changed_by(kind)}

    def all_costs(self, genes: IntArray) -> list[dict[str, float]]:
        """Every cost there is, for each of a population (plans, knobs)."""
        return [
            dict(zip(self._all_costs.budgets, row, strict=True)) for row in self._all_costs(self.expand(genes)).tolist()
        ]

    def _check_names(self, plan: Plan) -> None:
        problems = []
        for section, names, known in (
            ("groups", plan.groups, [group.name for group in self.info.groups]),
            ("layers", plan.layers, [layer.name for layer in self.info.layers]),
        ):
            for name in names:
                if name not in known:
                    near = rooms.nearest(name, known)
                    problems.append(f"plan.{section}.{name}: the model has no such {section[:-1]}{near}")
        if problems:
            raise UserError(problems)


def _own_levels(kind: str, knobs: Sequence[Knob]) -> set[float]:
    """What the knobs of a kind can be set to."""
    return {value for knob in knobs if knob.kind == kind for value in knob.values}


def _all_levels(
    kind: str, usual: Sequence[float], layers: Mapping[str, Mapping[str, Sequence[float]]] | None
) -> set[float]:
    """What a kind of knob may be set to anywhere."""
    return set(usual).union(*(levels.get(kind, ()) for levels in (layers or {}).values()))
