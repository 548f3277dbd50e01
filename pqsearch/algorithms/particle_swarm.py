"""Particle swarm in level space with a constriction factor; a particle moves whenever it is its turn.

Clerc & Kennedy, The Particle Swarm: Explosion, Stability, and Convergence in a Multidimensional Complex Space, IEEE
Transactions on Evolutionary Computation 2002: v = chi (v + c1 r1 (p - x) + c2 r2 (g - x)), x = x + v, with
chi = 2 / |2 - phi - sqrt(phi^2 - 4 phi)|, phi = c1 + c2 > 4. Positions are repaired genes: a real position is rounded up or
down by chance, so that a small velocity still moves a particle in the mean. Velocities travel in the memo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np

from pqsearch.algorithms._archive import Archive, Key, key_of
from pqsearch.algorithms._starts import Starts
from pqsearch.algorithms._steps import Steps
from pqsearch.problem import Finished, FloatArray, Genes, IntArray, Outcome, Problem, Proposal, Wait
from pqsearch.rooms import Doc, Range


@dataclass
class _Particle:
    turns: int = 0
    flying: set[int] = field(default_factory=set)
    latest: tuple[int, IntArray, FloatArray] | None = None  # candidate, position, velocity
    best: tuple[Key, IntArray] | None = None


class Algorithm:
    """Constricted particle swarm, asynchronous: nobody waits for the slowest particle."""

    def __init__(
        self,
        problem: Problem,
        seed: int,
        *,
        particles: Annotated[int, Doc("Size of the swarm."), Range(2, 10000)] = 16,
        cognitive: Annotated[float, Doc("Pull of a particle's own best, c1."), Range(2.01, 10)] = 2.05,
        social: Annotated[float, Doc("Pull of the swarm's best, c2."), Range(2.01, 10)] = 2.05,
        clamp: Annotated[float, Doc("Largest step, as a share of a knob's range."), Range(0.01, 1)] = 0.3,
        spread: Annotated[
            float, Doc("Levels by which first positions scatter around uniform plans."), Range(0, 100)
        ] = 0.5,
    ) -> None:
        self._seed = seed
        self._cognitive, self._social = cognitive, social
        phi = cognitive + social
        self._chi = 2 / abs(2 - phi - (phi * phi - 4 * phi) ** 0.5)
        self._archive = Archive(1)
        self._starts = Starts(problem, spread)
        self._steps = Steps(problem)
        self._fastest: FloatArray = np.asarray(clamp * self._steps.top, dtype=np.float64)
        self._swarm = [_Particle() for _ in range(particles)]
        self._owner: dict[int, int] = {}

    def ask(self, ids: Sequence[int]) -> list[Proposal] | Wait | Finished:
        """The particles whose turn it is: those that wait for no result first, then the least often moved."""
        rngs = [np.random.default_rng((self._seed, id)) for id in ids]
        turns = [(bool(particle.flying), particle.turns) for particle in self._swarm]
        chosen, moves = [], []
        for rng in rngs:
            index = turns.index(min(turns))
            turns[index] = (True, turns[index][1] + 1)
            chosen.append(index)
            moves.append(self._move(rng, self._swarm[index]))
        plans = self._steps.novel(rngs, [genes for genes, _ in moves], self._archive.seen, 1.0)
        return [
            Proposal(plan, {"particle": index, "velocity": velocity.round(3).tolist()})
            for plan, index, (_, velocity) in zip(plans, chosen, moves, strict=True)
        ]

    def asked(self, id: int, genes: Genes, memo: dict[str, Any]) -> None:
        self._archive.add(id, genes)
        if "particle" not in memo or memo["particle"] >= len(self._swarm):
            return
        self._owner[id] = memo["particle"]
        particle = self._swarm[memo["particle"]]
        particle.turns += 1
        if self._archive.outcome(id) is None:
            particle.flying.add(id)
        if particle.latest is None or id > particle.latest[0]:
            particle.latest = id, np.array(genes, dtype=np.int64), np.array(memo["velocity"], dtype=np.float64)

    def tell(self, id: int, genes: Genes, outcome: Outcome) -> None:
        self._archive.tell(id, genes, outcome)
        if id not in self._owner:
            return
        particle = self._swarm[self._owner[id]]
        particle.flying.discard(id)
        if not outcome.failed:
            key = key_of(id, outcome)
            if particle.best is None or key < particle.best[0]:
                particle.best = key, np.array(genes, dtype=np.int64)

    def _move(self, rng: np.random.Generator, particle: _Particle) -> tuple[IntArray, FloatArray]:
        if particle.latest is None:
            velocity = rng.uniform(-0.5, 0.5, len(self._fastest)) * self._fastest
            return self._starts.draw(rng), velocity
        _, position, velocity = particle.latest
        leaders = self._archive.parents()
        pull = np.zeros(len(position))
        if particle.best is not None:
            pull += self._cognitive * rng.random(len(position)) * (particle.best[1] - position)
        if len(leaders):
            pull += self._social * rng.random(len(position)) * (leaders[0] - position)
        velocity = self._chi * (velocity + pull)
        velocity = np.minimum(np.maximum(velocity, -self._fastest), self._fastest)
        return self._steps.rounded(rng, position + velocity), velocity
