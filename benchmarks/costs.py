"""Costs and repair of 10,000 random ResNet-56 plans on one core: `python benchmarks/costs.py [--json FILE]`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

PLANS = 10_000
REPEATS = 3
SECONDS = 2.0
BUDGETS = {"flops": 0.5, "weight_bits": 4.0, "act_bits": 4.0}
RATES = [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75]
BITS = [2, 3, 4, 5, 6, 8]


def main() -> int:
    """Measure and report; 1 if a bar is not met."""
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"  # read when numpy loads, so before the imports below
    import numpy as np
    from _report import Row, at_least, at_most, json_argument, report
    from _resnet import resnet_info

    from search_spaces.space import Space

    arguments = json_argument(__doc__ or "").parse_args()
    info = resnet_info(56)
    eight = {"weight_bits": 8, "act_bits": 8}
    pin = {info.layers[0].name: eight, info.layers[-1].name: eight}
    started = time.process_time()
    space = Space(info, prune_rate=RATES, weight_bits=BITS, act_bits=BITS, pin=pin, budgets=BUDGETS)
    setup = time.process_time() - started
    draw = np.random.default_rng(0)
    genes = np.stack([draw.integers(0, levels, PLANS) for levels in space.levels], axis=1)

    costing = fastest(lambda: space.costs(genes))
    repairing = fastest(lambda: space.repair(genes))
    repaired = space.repair(genes)
    costs = space.costs(repaired)
    within = float(np.all(costs <= space.limits * (1 + 1e-9), axis=1).mean())
    rows = [
        Row("knobs", len(space.levels), "knobs"),
        Row("space set up", setup, "s"),
        Row("costs of the plans", costing, "s"),
        Row("repair of the plans", repairing, "s"),
        at_most(f"costs and repair of {PLANS} ResNet-56 plans", costing + repairing, "s", SECONDS),
        Row("plans a second", PLANS / (costing + repairing), "1/s"),
        Row("one plan alone", fastest(lambda: space.repair(genes[:1])), "s"),
        at_least("repaired plans under every budget", within, "share", 1.0),
        at_least("repaired plans that repair leaves alone", unchanged(space.repair(repaired), repaired), "share", 1.0),
        Row("distinct repaired plans", len(np.unique(repaired, axis=0)), "plans"),
    ]
    used = (costs / space.limits).mean(axis=0)
    rows += [Row(f"{name} used of its limit", float(share), "share") for name, share in zip(BUDGETS, used, strict=True)]
    return report(rows, arguments.json)


def fastest(work: Callable[[], object]) -> float:
    """Processor seconds of the quickest of a few runs: what the work takes when nothing else disturbs it."""
    found = []
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def unchanged(found: object, expected: object) -> float:
    """Share of equal rows."""
    import numpy as np

    return float(np.all(np.asarray(found) == np.asarray(expected), axis=1).mean())


if __name__ == "__main__":
    sys.exit(main())
