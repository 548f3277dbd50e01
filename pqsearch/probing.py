"""What a study finds out of single knobs before its algorithm begins: the sensitivity table, and the prior in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

from pqsearch.plan import Change
from pqsearch.problem import Genes, Prior

#: Candidates are numbered from 0 on; what is found out before them from -1 down.
FIRST = -1


@dataclass(frozen=True)
class Probe:
    """One knob at one level, all others at their dearest."""

    knob: int
    level: int
    change: Change


@dataclass
class Probing:
    """The probes of a study and their answers so far.

    With "gradients" one worker answers them all at once; with "table" each is measured by itself, and the dearest plan before
    them, which the others are compared with.
    """

    source: Literal["gradients", "table"]
    levels: Sequence[int]
    probes: Sequence[Probe]
    answers: dict[int, dict[str, Any] | None] = field(default_factory=dict)  # None: it failed

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Probing:
        probes = [Probe(row["knob"], row["level"], Change.from_json(row["change"])) for row in event["probes"]]
        return cls(event["source"], event["levels"], probes)

    def event(self) -> dict[str, Any]:
        """The journal's word that probing begins; it can be read without the model."""
        return {
            "type": "probing",
            "source": self.source,
            "levels": list(self.levels),
            "probes": [asdict(probe) for probe in self.probes],
        }

    @property
    def ids(self) -> range:
        """Ids of the items that workers are given."""
        number = 1 if self.source == "gradients" else 1 + len(self.probes)
        return range(FIRST, FIRST - number, -1)

    @property
    def finished(self) -> bool:
        return len(self.answers) == len(self.ids)

    def genes(self, id: int) -> Genes:
        """The plan behind an item: the dearest one, but for the knob of a probe of its own."""
        genes = [count - 1 for count in self.levels]
        if id != FIRST:
            probe = self.probes[FIRST - 1 - id]
            genes[probe.knob] = probe.level
        return tuple(genes)

    def costs(self) -> list[float | None] | None:
        """What each probe costs in loss, in their order; None for those that failed, and for all if nothing is known."""
        reference = self.answers.get(FIRST)
        if reference is None:
            return None
        if self.source == "gradients":
            return cast("list[float | None]", reference["expected"])
        found = [self.answers.get(FIRST - 1 - number) for number in range(len(self.probes))]
        return [None if answer is None else answer["loss"] - reference["loss"] for answer in found]

    def prior(self) -> Prior | None:
        """The costs by knob and level, never negative and never lower at a cheaper level: what rises again is noise.

        A probe that failed costs as much as the worst of all.
        """
        costs = self.costs()
        if costs is None:
            return None
        worst = max((cost for cost in costs if cost is not None), default=0.0)
        prior = [[0.0] * count for count in self.levels]
        for probe, cost in zip(self.probes, costs, strict=True):
            prior[probe.knob][probe.level] = worst if cost is None else cost
        for row in prior:
            for level in range(len(row) - 2, -1, -1):
                row[level] = max(row[level], row[level + 1])
        return prior

    def table(self) -> list[dict[str, Any]]:
        """The sensitivity table as rows of kind, name, value and cost in loss; without those that failed."""
        costs = self.costs() or []
        pairs = zip(self.probes, costs, strict=False)
        return [{**asdict(probe.change), "cost": cost} for probe, cost in pairs if cost is not None]
