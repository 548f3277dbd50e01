"""How many nodes of what size the workers of a spec need."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pqsearch.errors import UserError
from pqsearch.spec_search import WorkersSpec

#: Without GPUs, workers share a node up to so many cores: fewer nodes, and yet a size that is found everywhere.
CORES_OF_A_NODE = 8
#: What Ray itself, and on the head the command, need besides the workers.
MEMORY_BESIDES_GIB = 2


@dataclass(frozen=True)
class Nodes:
    """`count` equal nodes, the head among them, each with room for `workers` workers."""

    count: int
    workers: int
    cpus: int
    gpus: int

    @classmethod
    def of(cls, workers: WorkersSpec, on_a_node: int | None = None) -> Nodes:
        """As many workers on a node as share a GPU, or as fit in a few cores, unless `on_a_node` says how many.

        The head is a node like the others and works as well: it trains the baseline, so it needs a GPU wherever workers do.
        Raises `UserError` for workers that are kept to some nodes of a cluster which is there already.
        """
        if workers.resources:
            raise UserError(
                f"workers.resources: {', '.join(workers.resources)} keeps workers to some nodes of a cluster that is shared; this makes "
                "a cluster for one search, leave it out (--set workers.resources={})"
            )
        sharing = max(1, int(1 / workers.gpus + 1e-9)) if workers.gpus else 1
        if on_a_node is None:
            on_a_node = sharing if workers.gpus else max(1, int(CORES_OF_A_NODE / workers.cpus + 1e-9))
        here = min(on_a_node, workers.count)
        # Ray gives a worker a share of one GPU, never shares of two.
        gpus = math.ceil(here / sharing) * math.ceil(workers.gpus) if workers.gpus else 0
        return cls(math.ceil(workers.count / here), here, math.ceil(here * workers.cpus - 1e-9), gpus)

    def memory(self, of_a_worker: int) -> int:
        """GiB of a node."""
        return self.workers * of_a_worker + MEMORY_BESIDES_GIB
