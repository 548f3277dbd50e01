"""What a study tells a monitoring system, by name: read by what exports it, by the board that draws it, and by the docs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Ray puts this before the names that it exports.
RAYS = "ray_"
#: Tags that every metric has.
TAGS = ("study", "algorithm")


@dataclass(frozen=True)
class Metric:
    """A gauge: its meaning with its unit, and a tag beside those that all have."""

    meaning: str
    tag: str | None = None


#: Totals are gauges, too: they are the journal's own, and a study that begins anew would count them into a counter twice.
METRICS: Mapping[str, Metric] = {
    "pqsearch_evaluations": Metric("Evaluations that came to an end, repeats and probes among them."),
    "pqsearch_evaluations_planned": Metric("Evaluations that the whole search will make, as far as is known."),
    "pqsearch_evaluations_per_second": Metric("Rate of the last minute."),
    "pqsearch_worker_seconds": Metric("Seconds that evaluations took, by the workers' own clocks."),
    "pqsearch_workers": Metric("Workers that have loaded their data and take part."),
    "pqsearch_busy_ratio": Metric("Share of them, from 0 to 1, that held an evaluation, as a mean over the last minute."),
    "pqsearch_running": Metric("Evaluations that workers hold."),
    "pqsearch_queue": Metric("Evaluations that are asked for and wait for a worker."),
    "pqsearch_failures": Metric("Candidates that failed."),
    "pqsearch_halted": Metric("Candidates that ended below the last rung; some may still go on."),
    "pqsearch_cache_hits": Metric("Proposals whose plan was known: nothing was evaluated for them."),
    "pqsearch_measured": Metric("Candidates that were measured at a rung.", "rung"),
    "pqsearch_promotions": Metric("Candidates that went on from a rung to the next one.", "rung"),
    "pqsearch_best_score": Metric("The first objective of the best plan: its loss, or its accuracy from 0 to 1.", "score"),
    "pqsearch_best_accuracy": Metric("Accuracy of the best plan on the scoring slice, from 0 to 1."),
    "pqsearch_best_cost": Metric("Costs of the best plan, in the unit of each budget.", "budget"),
    "pqsearch_budget_limit": Metric("Upper limit of a cost, in the same unit; a target moves its own.", "budget"),
}  # fmt: skip
