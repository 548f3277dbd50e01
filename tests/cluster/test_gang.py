"""Room for processes that train together, in lines for the user. (A real cluster is asked in `tests/long`.)"""

from __future__ import annotations

import pytest

from cluster.gang import check_processes, gang_problems
from pqsearch.spec import parse_spec
from pqsearch.spec_search import WorkersSpec
from tests.conftest import small_spec


def test_every_training_that_has_no_room_is_named_with_the_way_out() -> None:
    nodes = [{"CPU": 4.0, "GPU": 2.0}, {"CPU": 1.0, "GPU": 1.0}]
    trainings = [("baseline", 3), ("finetune", 4)]
    assert gang_problems(trainings, nodes, WorkersSpec(gpus=1)) == [
        "finetune.workers: 4 processes (1 CPU, 1 GPU each) train together, the cluster has room for 3 on 2 nodes; lower finetune.workers, "
        "add nodes, or let workers.wait say how many seconds it may take to grow"
    ]
    both = gang_problems(trainings, nodes[:1], WorkersSpec(gpus=1, wait=5.0))
    assert [line.partition(":")[0] for line in both] == ["baseline.workers", "finetune.workers"]
    assert all(line.endswith("on 1 node; lower " + line.partition(":")[0] + ", add nodes") for line in both)


def test_a_ray_of_this_machines_own_has_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    said: list[str] = []
    check_processes(parse_spec(small_spec(finetune__workers=64, finetune__batch_size=128)), said.append)
    assert said == []
