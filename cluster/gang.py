"""Whether a cluster has room for all processes that train together, who can only begin at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from cluster import local
from cluster.nodes import BEGUN, room
from pqsearch.errors import UserError
from pqsearch.spec import Spec, shared_trainings
from pqsearch.spec_search import WorkersSpec


def check_processes(spec: Spec, say: Callable[[str], None]) -> None:
    """Refuse trainings that are shared by more processes than the nodes can hold; raises `UserError` with all of them.

    With `workers.wait` the cluster is asked for the room first and may take so long to grow. Nothing happens on a Ray that is this
    machine's alone, which has what is asked for.
    """
    trainings = shared_trainings(spec)
    if not trainings or not os.environ.get("RAY_ADDRESS"):
        return
    local.connect(local.render(spec))
    most = max(processes for _, processes in trainings)
    if room(_nodes(), spec.workers) < most and spec.workers.wait is not None:
        _ask_for(most, spec.workers, spec.workers.wait)
    if problems := gang_problems(trainings, _nodes(), spec.workers):
        raise UserError(problems)
    say(
        f"{BEGUN}{' and '.join(key for key, _ in trainings)} by {most} processes at most, which talk to each other over the nodes' "
        "network, as torch does: in the clear and on ports that it chooses"
    )


def gang_problems(
    trainings: Sequence[tuple[str, int]], resources: Sequence[Mapping[str, float]], workers: WorkersSpec
) -> list[str]:
    """Lines for trainings, each a section with its number of processes, that nodes with these resources cannot hold."""
    fitting = room(resources, workers)
    takes = ", ".join(f"{number:g} {name}" for name, number in workers.wanted().items())
    grows = "" if workers.wait is not None else ", or let workers.wait say how many seconds it may take to grow"
    return [
        f"{key}.workers: {processes} processes ({takes} each) train together, the cluster has room for {fitting} on "
        f"{len(resources)} {'node' if len(resources) == 1 else 'nodes'}; lower {key}.workers, add nodes{grows}"
        for key, processes in trainings
        if processes > fitting
    ]


def _nodes() -> list[Mapping[str, float]]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _ask_for(processes: int, workers: WorkersSpec, seconds: float) -> None:
    """What makes a cluster that can grow do so; whether it did is seen by its nodes."""
    from ray.util.placement_group import placement_group, remove_placement_group

    bundle = {name: number for name, number in workers.wanted().items() if number}
    group = placement_group([bundle] * processes)
    try:
        group.wait(seconds)
    finally:
        remove_placement_group(group)
