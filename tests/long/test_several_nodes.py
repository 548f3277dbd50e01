"""Searches over several nodes of a real Ray on this machine: nodes that come and go, and a head that dies."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from pqsearch.journal.file import read_events
from pqsearch.study import read_study
from tests.chaos.ledger import Ledger, started
from tests.conftest import small_spec
from tests.long.ray_head import RayHead
from tests.waiting import until

pytestmark = pytest.mark.long
#: Enough that there is time to break something, and to start a worker on every node.
EVALUATIONS, MANY = 60, 200


def _submit(head: RayHead, folder: Path, name: str = "nodes", **changes: Any) -> tuple[str, Path]:
    """A job's id and its run directory, which all nodes see."""
    changes = {"baseline__epochs": 2, "finetune__epochs": 1, "finetune__compare": False, **changes}
    spec = small_spec(**{"study__name": name, "study__evaluations": EVALUATIONS, **changes})
    (folder / f"{name}.toml").write_text(tomli_w.dumps(spec))
    done = head.command("submit", f"{name}.toml", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.match(r"(\S+): ", done.stdout)
    assert found is not None, done.stdout
    return found[1], head.home / "pqsearch" / "runs" / name


def _measured(ledger: Ledger) -> int:
    ledger.look()
    return len(ledger.acknowledged)


def _seats(run: Path) -> set[str]:
    """Workers of whom the journal has results."""
    return {event["worker"] for event in read_events(run / "journal.jsonl") if event["type"] == "reported"}


def _ended(head: RayHead, folder: Path, id: str, ledger: Ledger) -> None:
    """Follow a job to its good end: all is measured, nothing was lost, and nothing acknowledged was paid for again."""
    follow = head.command("logs", id, "--follow", cwd=folder)
    assert follow.returncode == 0, follow.stdout + follow.stderr
    ledger.look()
    assert (ledger.lost, ledger.twice) == (set(), set())
    assert _jobs(head, folder)[id] == "SUCCEEDED"


def _jobs(head: RayHead, folder: Path) -> dict[str, str]:
    """How each job is."""
    jobs = [json.loads(line) for line in head.command("jobs", "--json", cwd=folder).stdout.splitlines()]
    return {job["id"]: job["status"] for job in jobs}


def _nodes_of(head: RayHead, called: str) -> set[str]:
    """Where actors run, or ran, whose names begin so."""
    return {
        one["node_id"]
        for one in json.loads(head.actors())
        if f"{one['repr_name']} {one['name']}".strip().startswith(called)
    }


def test_a_search_over_three_nodes_loses_one_and_nothing_else(tmp_path: Path) -> None:
    with RayHead(tmp_path, cpus=1) as head, head.another_node(), head.another_node() as node:
        id, run = _submit(head, tmp_path, study__evaluations=MANY, workers__count=3)
        ledger = Ledger(run)
        until(lambda: _measured(ledger) >= 30 and len(_seats(run)) == 3)
        node.kill()
        before = _measured(ledger)
        until(lambda: _measured(ledger) >= before + 10)
        # The room of the dead node comes back with another one, which is used at once.
        with head.another_node():
            _ended(head, tmp_path, id, ledger)
    state = read_study(run / "journal.jsonl")
    assert state.done == MANY and state.finished


def test_a_node_that_comes_in_mid_search_takes_part(tmp_path: Path) -> None:
    with RayHead(tmp_path, cpus=1) as head:
        # More than there is time for: a node takes a while to start.
        id, run = _submit(head, tmp_path, study__evaluations=5000)
        ledger = Ledger(run)
        until(lambda: _measured(ledger) >= 10)
        assert len(_seats(run)) == 1
        with head.another_node():
            until(lambda: len(_seats(run)) == 2)
            stopped = head.command("stop", id, cwd=tmp_path)
        assert stopped.returncode == 0, stopped.stderr
    ledger.look()
    assert (ledger.lost, ledger.twice) == (set(), set())


def test_a_head_that_dies_takes_nothing_with_it_that_was_measured(tmp_path: Path) -> None:
    with RayHead(tmp_path) as head:
        first, run = _submit(head, tmp_path)
        ledger = Ledger(run)
        until(lambda: _measured(ledger) >= 20)
        head.kill()
    paid = _measured(ledger)
    with RayHead(tmp_path) as another:
        second, again = _submit(another, tmp_path)
        assert again == run
        # The new head knows nothing of the first one's jobs.
        assert second == first
        _ended(another, tmp_path, second, ledger)
    assert 0 < paid < len(ledger.acknowledged)
    assert len(started(run)) >= len(ledger.acknowledged)


def test_two_studies_keep_to_their_nodes_and_the_end_of_one_is_nothing_to_the_other(tmp_path: Path) -> None:
    with (
        RayHead(tmp_path, cpus=1) as head,
        head.another_node(resources={"one": 1}),
        head.another_node(resources={"other": 1}),
    ):
        found = {
            name: _submit(
                head, tmp_path, name, study__evaluations=evaluations, workers__count=1, workers__resources={name: 1}
            )
            for name, evaluations in (("one", 5000), ("other", MANY))
        }
        ledgers = {name: Ledger(run) for name, (_, run) in found.items()}
        until(lambda: all(_measured(ledger) >= 5 for ledger in ledgers.values()))
        (here,), (there,) = (_nodes_of(head, f"{name}/worker-") for name in found)
        assert here != there
        # Where the jobs themselves are: a node that ends takes no study with it.
        (one,), (other,) = (_nodes_of(head, f"{name}/study-") for name in found)
        assert one == other and one not in (here, there)
        assert _jobs(head, tmp_path) == {id: "RUNNING" for id, _ in found.values()}
        stopped = head.command("stop", found["one"][0], cwd=tmp_path)
        assert stopped.returncode == 0, stopped.stderr
        _ended(head, tmp_path, found["other"][0], ledgers["other"])
        assert _jobs(head, tmp_path)[found["one"][0]] == "STOPPED"
