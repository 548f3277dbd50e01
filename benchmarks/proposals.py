"""What a proposal costs each algorithm, repair aside: ask, asked and tell at 120 knobs in batches of 32.

The default, whose surrogate is fitted anew for each batch, also one at a time, and with two objectives.

    python benchmarks/proposals.py [--results 100 100000] [--only NAMES] [--json FILE]

The problem is a box, whose repair is a clip. Processor time of this process on one thread, the median of several batches,
after 100 and after 100,000 results were told; and each algorithm's ratio to Optuna's TPE, living in one study with 100 trials.
"""

from __future__ import annotations

import os
import statistics
import sys
import time

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # read when numpy loads

import numpy as np  # noqa: E402
import optuna  # noqa: E402
from _report import Row, at_most, json_argument, report  # noqa: E402

from pqsearch import rooms  # noqa: E402
from pqsearch.box import Box  # noqa: E402
from pqsearch.problem import Algorithm, Outcome  # noqa: E402

KNOBS, LEVELS, BATCH, BATCHES = 120, 6, 32, 7
TEXTBOOK = ("ant_colony", "bee_colony", "genetic", "particle_swarm")
FLAGSHIP = "surrogate_exchange"
#: Those that end after a list of plans, and those whose proposal looks through the whole history.
UNMEASURED = ("sensitivity_ilp", "uniform_plans")
WHOLE_HISTORY = ("tpe",)


def main() -> int:
    parser = json_argument(__doc__ or "")
    parser.add_argument("--results", type=int, nargs="+", default=[100, 100_000], help="results told before")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="algorithms; all unless given")
    options = parser.parse_args()
    rows = []
    peer = _optuna_tpe()
    rows.append(Row("optuna TPE, living in one study of 100 trials", peer, "ms"))
    for name in options.only or [name for name in rooms.names("algorithms") if name not in UNMEASURED]:
        for results in options.results:
            if results > 1000 and name in WHOLE_HISTORY:
                continue
            mine = _milliseconds(name, results)
            label = f"{name} after {results} results"
            bar = 0.3 if name in TEXTBOOK else 50.0 if name == FLAGSHIP else None
            rows.append(Row(label, mine, "ms") if bar is None else at_most(label, mine, "ms", bar))
            rows.append(Row(f"{label}, by optuna TPE's", mine / peer, "ratio"))
            for objectives in (1, 2) if name == FLAGSHIP else ():
                words = f"{label}, one at a time" + ", two objectives" * (objectives > 1)
                rows.append(at_most(words, _milliseconds(name, results, 1, objectives), "ms", 50.0))
    return report(rows, options.json)


def _milliseconds(name: str, results: int, size: int = BATCH, objectives: int = 1) -> float:
    """What each proposal takes in batches of `size`."""
    algorithm: Algorithm = rooms.load("algorithms", name)(Box([LEVELS] * KNOBS), 0)
    rng = np.random.default_rng(0)
    worth = rng.random((objectives, KNOBS))
    for id, genes in enumerate(map(tuple, rng.integers(0, LEVELS, (results, KNOBS)).tolist())):
        algorithm.asked(id, genes, {})
        algorithm.tell(id, genes, Outcome(tuple((worth @ genes).tolist())))
    algorithm.ask(range(results, results + BATCH))  # what is learned once and kept is no cost of a proposal
    taken = []
    for batch in range(BATCHES):
        ids = range(results + batch * size, results + (batch + 1) * size)
        began = time.process_time()
        answer = algorithm.ask(ids)
        assert isinstance(answer, list), f"{name} gave no proposals"
        for id, proposal in zip(ids, answer, strict=True):
            algorithm.asked(id, proposal.genes, proposal.memo)
        for id, proposal in zip(ids, answer, strict=True):
            algorithm.tell(id, proposal.genes, Outcome(tuple((worth @ proposal.genes).tolist())))
        taken.append(1000 * (time.process_time() - began) / size)
    return statistics.median(taken)


def _optuna_tpe() -> float:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    space: dict[str, optuna.distributions.BaseDistribution] = {
        f"x{knob}": optuna.distributions.IntDistribution(0, LEVELS - 1) for knob in range(KNOBS)
    }
    taken = []
    for _ in range(100 + BATCH):
        began = time.process_time()
        trial = study.ask(space)
        study.tell(trial, sum(trial.params.values()))
        taken.append(1000 * (time.process_time() - began))
    return statistics.median(taken[100:])


if __name__ == "__main__":
    sys.exit(main())
