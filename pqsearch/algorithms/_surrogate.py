"""A Gaussian process over genes: what plans that nobody has measured may be worth.

Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1. The kernel is a sum of one Brownian
kernel per knob (an additive effect of any shape over its levels) and one squared exponential over all knobs (what they do
together); shares, length and noise are the likeliest of a small grid (section 5.4.1). Where the problem has a prior, steps
between levels that it takes for harmless move less, and a third part is linear in the damage it expects of a plan: how far to
trust it is one more share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from pqsearch.problem import FloatArray, IntArray, Prior

#: Share of the variance that is additive; length of the joint part, in typical distances; noise variance by signal variance.
SHARES = (0.5, 0.8, 0.98)
#: Share of the variance that follows the prior, where there is one.
TRUSTS = (0.0, 0.3, 0.6, 0.9)
#: Share of a level step's variance that the prior has no say in: it may be wrong about any of them.
DOUBT = 0.2
LENGTHS = (0.7, 1.5)
NOISES = (0.03, 0.1, 0.3, 1.0, 3.0)
#: Results that the hyperparameters are chosen on.
MOST_FITTED = 160


@dataclass(frozen=True)
class Hyper:
    share: float
    length: float
    noise: float
    trust: float = 0.0


class Kernel:
    """Similarity of genes, 1 on average for a plan with itself."""

    def __init__(self, levels: IntArray, prior: Prior | None = None) -> None:
        top = np.maximum(levels - 1, 1)
        self._scale = 1.0 / top
        self._knobs = np.repeat(np.arange(len(levels)), levels - 1)
        self._rungs = np.concatenate([np.arange(1, count) for count in levels]) if len(self._knobs) else np.zeros(0)
        variances = 1.0 / top[self._knobs]
        self._damage: FloatArray | None = None
        if prior is not None and any(any(costs) for costs in prior):
            steps = np.concatenate([-np.diff(costs) for costs in prior])
            expected = np.sqrt(np.maximum(steps, 0.0))
            variances = (1 - DOUBT) * expected * variances.mean() / expected.mean() + DOUBT * variances
            self._damage = -steps
        self._weights = np.sqrt(variances / max(1, int((levels > 1).sum())))

    @property
    def trusts(self) -> tuple[float, ...]:
        """What the share of the prior may be."""
        return (0.0,) if self._damage is None else TRUSTS

    def damage(self, genes: IntArray) -> FloatArray:
        """What the prior expects each plan to cost, up to a constant (plans,)."""
        if self._damage is None:
            return np.zeros(len(genes))
        return (genes[:, self._knobs] >= self._rungs) @ self._damage

    def climbed(self, genes: IntArray) -> FloatArray:
        """Which levels each plan has reached (plans, levels over all knobs), so that their products are min(a, b)."""
        reached = genes[:, self._knobs] >= self._rungs
        return np.asarray(reached * self._weights, dtype=np.float64)

    def distances(self, first: IntArray, second: IntArray) -> FloatArray:
        """Mean squared distance over knobs, in ranges (plans, plans)."""
        a, b = first * self._scale, second * self._scale
        squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
        return np.maximum(squares, 0.0) / max(1, first.shape[1])


@dataclass(frozen=True)
class _Features:
    """What the additive part (plans, levels over all knobs) and the prior's (plans,) make of plans, both centred."""

    climbed: FloatArray
    damage: FloatArray


class Surrogate:
    """The posterior given genes (plans, knobs) and targets (plans,), smaller being better."""

    def __init__(self, kernel: Kernel, genes: IntArray, targets: FloatArray, hyper: Hyper | None = None) -> None:
        self._kernel, self.genes = kernel, genes
        self._offset = float(targets.mean())
        self._unit = float(targets.std()) or 1.0
        self._targets = (targets - self._offset) / self._unit
        climbed = kernel.climbed(genes)
        self._centre = climbed.mean(0)
        climbed = climbed - self._centre
        self._additive_unit = float((climbed**2).sum(1).mean()) or 1.0
        damage = kernel.damage(genes)
        self._damage_centre, self._damage_unit = float(damage.mean()), float(damage.std()) or 1.0
        self._features = _Features(climbed, (damage - self._damage_centre) / self._damage_unit)
        self._distances = kernel.distances(genes, genes)
        self._typical = float(self._distances.mean()) or 1.0
        self.hyper = hyper or self._likeliest()
        self._covariances = self._own(self.hyper)
        self._factor = cho_factor(self._covariances + self.hyper.noise * np.eye(len(genes)), lower=True)
        self._weights = cho_solve(self._factor, self._targets)

    def predict(self, genes: IntArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation, without the noise of a measurement, of plans (plans, knobs)."""
        mine, across, half = self._seen_from(genes)
        share, joint, trust = self._shares(self.hyper)
        own = share * (mine.climbed**2).sum(1) / self._additive_unit + joint + trust * mine.damage**2
        variance = np.maximum(own - (half**2).sum(0), 1e-9)
        return self._offset + self._unit * (across @ self._weights), self._unit * np.sqrt(variance)

    def draw(self, rng: np.random.Generator, genes: IntArray) -> FloatArray:
        """One function drawn from the posterior, at plans (plans, knobs): values (plans,)."""
        mine, across, half = self._seen_from(genes)
        own = self._covariance(self.hyper, mine, mine, self._kernel.distances(genes, genes))
        values, vectors = np.linalg.eigh(own - half.T @ half)
        drawn = vectors @ (np.sqrt(np.maximum(values, 0.0)) * rng.standard_normal(len(values)))
        return self._offset + self._unit * (across @ self._weights + drawn)

    @cached_property
    def fitted(self) -> FloatArray:
        """The posterior mean of the plans it was given: their targets, rid of some of the noise."""
        return self._offset + self._unit * (self._covariances @ self._weights)

    def _seen_from(self, genes: IntArray) -> tuple[_Features, FloatArray, FloatArray]:
        """Features of plans, their covariance with those measured (plans, measured), and what these explain of them."""
        climbed = self._kernel.climbed(genes) - self._centre
        mine = _Features(climbed, (self._kernel.damage(genes) - self._damage_centre) / self._damage_unit)
        across = self._covariance(self.hyper, mine, self._features, self._kernel.distances(genes, self.genes))
        return mine, across, solve_triangular(self._factor[0], across.T, lower=True)

    def _joint(self, distances: FloatArray, length: float) -> FloatArray:
        return np.exp(-distances / (2 * self._typical * length**2))

    @staticmethod
    def _shares(hyper: Hyper) -> tuple[float, float, float]:
        """Weights of the additive, the joint and the prior's part."""
        rest = 1 - hyper.trust
        return rest * hyper.share, rest * (1 - hyper.share), hyper.trust

    def _own(self, hyper: Hyper) -> FloatArray:
        """The covariance of the plans measured (measured, measured)."""
        return self._covariance(hyper, self._features, self._features, self._distances)

    def _covariance(self, hyper: Hyper, first: _Features, second: _Features, distances: FloatArray) -> FloatArray:
        share, joint, trust = self._shares(hyper)
        found = share * (first.climbed @ second.climbed.T) / self._additive_unit
        found += joint * self._joint(distances, hyper.length)
        if trust:
            found += trust * np.outer(first.damage, second.damage)
        return np.asarray(found, dtype=np.float64)

    def _likeliest(self) -> Hyper:
        """The grid point of the largest marginal likelihood, the signal's scale being profiled out."""
        found = (float("inf"), Hyper(SHARES[0], LENGTHS[0], NOISES[0]))
        count = len(self._targets)
        if not self._targets.any():  # nothing to learn from equal scores
            return found[1]
        for share, length, trust in product(SHARES, LENGTHS, self._kernel.trusts):
            values, vectors = np.linalg.eigh(self._own(Hyper(share, length, 0.0, trust)))
            rotated = (vectors.T @ self._targets) ** 2
            for noise in NOISES:
                spectrum = np.maximum(values, 0.0) + noise
                cost = count * np.log((rotated / spectrum).sum() / count) + np.log(spectrum).sum()
                found = min(found, (float(cost), Hyper(share, length, noise, trust)), key=lambda pair: pair[0])
        return found[1]
