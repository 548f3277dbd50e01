from __future__ import annotations

import pytest

from cluster.sizing import Nodes
from pqsearch.errors import UserError
from pqsearch.spec_search import WorkersSpec


@pytest.mark.parametrize(
    ("count", "cpus", "gpus", "on_a_node", "expected"),
    [
        (2, 1, 0, None, Nodes(1, 2, 2, 0)),
        (20, 1, 0, None, Nodes(3, 8, 8, 0)),
        (3, 16, 0, None, Nodes(3, 1, 16, 0)),
        (5, 0.5, 0, None, Nodes(1, 5, 3, 0)),
        (4, 2, 1, None, Nodes(4, 1, 2, 1)),
        (6, 2, 0.5, None, Nodes(3, 2, 4, 1)),
        (7, 1, 0.3, None, Nodes(3, 3, 3, 1)),
        (3, 1, 0.6, 3, Nodes(1, 3, 3, 3)),
        (4, 8, 2, None, Nodes(4, 1, 8, 2)),
        (8, 1, 1, 4, Nodes(2, 4, 4, 4)),
        (2, 1, 0, 100, Nodes(1, 2, 2, 0)),
    ],
)
def test_nodes_hold_all_workers_and_no_worker_has_parts_of_two_gpus(
    count: int, cpus: float, gpus: float, on_a_node: int | None, expected: Nodes
) -> None:
    found = Nodes.of(WorkersSpec(count=count, cpus=cpus, gpus=gpus), on_a_node)
    assert found == expected
    assert found.count * found.workers >= count


def test_memory_is_that_of_the_workers_and_of_ray() -> None:
    assert Nodes(2, 4, 4, 0).memory(3) == 14


def test_a_cluster_for_one_search_has_no_resources_of_others() -> None:
    with pytest.raises(
        UserError, match=r"^workers\.resources: pool keeps workers to some nodes of a cluster that is shared"
    ):
        Nodes.of(WorkersSpec(count=2, resources={"pool": 1}))
