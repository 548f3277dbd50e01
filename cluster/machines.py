"""Machine types of the clouds: the smallest that has what a node needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.sizing import Nodes
from pqsearch.errors import UserError


@dataclass(frozen=True)
class Machine:
    name: str
    cpus: int
    gpus: int = 0


#: By provider, the smaller first. 4 GiB of memory or more a core; the GPUs are A10G (aws) and L4 (gcp), with 24 GB each.
MACHINES: Mapping[str, tuple[Machine, ...]] = {
    "aws": (
        Machine("m6i.large", 2),
        Machine("m6i.xlarge", 4),
        Machine("m6i.2xlarge", 8),
        Machine("m6i.4xlarge", 16),
        Machine("m6i.8xlarge", 32),
        Machine("m6i.16xlarge", 64),
        Machine("g5.xlarge", 4, 1),
        Machine("g5.2xlarge", 8, 1),
        Machine("g5.4xlarge", 16, 1),
        Machine("g5.8xlarge", 32, 1),
        Machine("g5.12xlarge", 48, 4),
        Machine("g5.48xlarge", 192, 8),
    ),
    "gcp": (
        Machine("n2-standard-2", 2),
        Machine("n2-standard-4", 4),
        Machine("n2-standard-8", 8),
        Machine("n2-standard-16", 16),
        Machine("n2-standard-32", 32),
        Machine("n2-standard-64", 64),
        Machine("g2-standard-4", 4, 1),
        Machine("g2-standard-8", 8, 1),
        Machine("g2-standard-16", 16, 1),
        Machine("g2-standard-32", 32, 1),
        Machine("g2-standard-24", 24, 2),
        Machine("g2-standard-48", 48, 4),
        Machine("g2-standard-96", 96, 8),
    ),
}


def machine_for(provider: str, nodes: Nodes) -> str:
    """The name of the first machine that is large enough. Raises `UserError` when none is."""
    for machine in MACHINES[provider]:
        if bool(machine.gpus) == bool(nodes.gpus) and machine.gpus >= nodes.gpus and machine.cpus >= nodes.cpus:
            return machine.name
    raise UserError(
        f"workers: {nodes.workers} on a node need {nodes.cpus} cores and {nodes.gpus} GPUs, more than any machine known here; "
        "name one with --machine, or give fewer --workers-per-node"
    )
