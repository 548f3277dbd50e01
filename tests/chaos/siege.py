"""A search hit by fault after fault, and what became of it.

    python -m tests.chaos.siege [--faults 100] [--only WORDS] [--seed 0] [--folder FOLDER]

Prints a table: how often each fault was survived and tried, evaluations lost, evaluations paid twice. Exit code 1 if anything
was lost, paid twice, left behind, or took its fault otherwise than `faults.py` says.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pqsearch.journal.file import read_events
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import load_spec
from pqsearch.study import read_study
from tests.chaos.faults import Fault, all_faults
from tests.chaos.ledger import Ledger
from tests.chaos.obedient import Orders
from tests.chaos.processes import SearchProcess
from tests.chaos.suggestions import compared
from tests.conftest import write_spec
from tests.long.misbehaving import FAILURES

#: `pqsearch` whose workers take orders.
COMMAND = "tests.chaos.command"
#: Results that a search must bring between two faults: it is under way.
BETWEEN = 2
#: How long it may take to bring them, starting included.
PATIENCE_SECONDS = 300.0
#: More than a siege has time for: its search never ends by itself.
MOST_EVALUATIONS = 100_000
#: The moment of a fault is random within this.
MOMENT_SECONDS = 1.5
#: When a worker is given up, and an evaluation hangs; both take longer than anything that goes well here.
SILENCE_SECONDS, HUNG_SECONDS = 15.0, 30.0
#: How long Ray has for ending a worker that was given up.
END_SECONDS = 60.0


@dataclass
class Tally:
    """What became of a siege; `complaints` say what was not as it must be."""

    tried: Counter[str] = field(default_factory=Counter)
    survived: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    twice: int = 0
    proposals: int = 0
    proposed_alike: int = 0
    complaints: list[str] = field(default_factory=list)

    def table(self) -> str:
        width = max(map(len, self.tried), default=0)
        rows = [f"{'fault':<{width}}  survived / tried"]
        rows += [f"{name:<{width}}  {self.survived[name]} / {number}" for name, number in sorted(self.tried.items())]
        rows.append(f"{'all':<{width}}  {self.survived.total()} / {self.tried.total()}")
        rows.append(f"evaluations lost {self.lost}, paid twice {self.twice}")
        rows.append(f"proposals as of an unbroken search {self.proposed_alike} / {self.proposals}")
        return "\n".join([*rows, *self.complaints])


class Siege:
    """One search in a folder, started again whenever a fault has ended it."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._spec = write_spec(
            folder,
            study__evaluations=MOST_EVALUATIONS,
            rungs=[
                {"kind": "calibrate", "images": 64, "max_seconds": HUNG_SECONDS},
                {"kind": "fine_tune", "steps": 2, "batch_size": 32, "max_seconds": HUNG_SECONDS},
            ],
            workers={"count": 2, "cpus": 1, "silence_seconds": SILENCE_SECONDS},
            algorithm={"name": "genetic", "population": 10},
        )
        self._folder, self._rng = folder, rng
        self._run = folder / "run"
        self._journal = self._run / "journal.jsonl"
        self._ledger = Ledger(self._run)
        self._search: SearchProcess | None = None
        self._former: list[tuple[str, SearchProcess]] = []
        self._ends = 0
        self._orders: dict[int, str] = {}
        self.tally = Tally()

    def hit(self, fault: Fault) -> None:
        """Let the search come under way, hit it, and see how it takes that."""
        before = len(self.tally.complaints)
        search = self._under_way()
        time.sleep(self._rng.uniform(0, MOMENT_SECONDS))
        self._ledger.look()
        search.family()
        fault.strike(search, self._run, self._rng)
        if fault.exit_code is not None:
            self._ended(search, fault)
        elif fault.act:
            self._wait_for_failure(search, fault)
        for process in search.outlived(SILENCE_SECONDS + END_SECONDS):
            self._complain(f"{fault.name}: process {process.pid} is still there")
        self._ledger.look()
        for text in fault.aftermath(self._spec, self._run, self._rng):
            self._complain(f"{fault.name}: {text}")
        if fault.exit_code is None:
            self._wait_for_results(search)
        self._ledger.look()
        self.tally.tried[fault.name] += 1
        self.tally.survived[fault.name] += len(self.tally.complaints) == before

    def finish(self) -> Tally:
        """Let the search end with what it has begun, and look at it as a whole."""
        search = self._under_way()
        search.process.terminate()
        search.wait()
        search.end()
        run = RunDirectory(self._run)
        begun = read_study(run.journal).evaluations
        self._search = search = SearchProcess(
            self._spec,
            self._folder / "log-last.txt",
            arguments=("--set", f"study.evaluations={begun}"),
            module=COMMAND,
        )
        code = search.wait()
        self._ledger.look()
        if code != 0:
            self._complain(f"the search ended with {code}: {search.last_line()}")
        study = read_study(run.journal)
        ordered = Orders(self._run).taken()
        failed = {id for id, candidate in study.by_id.items() if candidate.state == "failed"}
        if not study.finished or study.counts["done"] < begun - len(ordered) or failed != ordered.keys():
            self._complain(f"{study.counts['done']} of {begun} candidates are done, failed are {sorted(failed)}")
        for name, former in self._former:
            for words in former.orphans():
                self._complain(f"{name}: left behind: {words.strip()[:100]}")
        self.tally.lost, self.tally.twice = len(self._ledger.lost), len(self._ledger.twice)
        for what, keys in (("lost", self._ledger.lost), ("begun once more", self._ledger.twice)):
            self.tally.complaints += [f"{what}: candidate, rung, repeat {key}" for key in sorted(keys)]
        self.tally.proposed_alike, self.tally.proposals = compared(load_spec(self._spec), run)
        if self.tally.proposed_alike < self.tally.proposals:
            self._complain("an unbroken search proposes others")
        return self.tally

    def close(self) -> None:
        for search in (*(former for _, former in self._former), self._search):
            if search is not None:
                search.end()

    def _start(self) -> SearchProcess:
        self._search = SearchProcess(self._spec, self._folder / f"log-{self._ends}.txt", module=COMMAND)
        return self._search

    def _under_way(self) -> SearchProcess:
        search = self._search or self._start()
        # What a search before it has still measured is no sign that this one runs.
        deadline = time.monotonic() + PATIENCE_SECONDS
        while search.running and not search.parts("worker") and time.monotonic() < deadline:
            time.sleep(0.1)
        self._wait_for_results(search)
        return search

    def _wait_for_results(self, search: SearchProcess) -> None:
        self._ledger.look()
        wanted = len(self._ledger.acknowledged) + BETWEEN
        deadline = time.monotonic() + PATIENCE_SECONDS
        while search.running and len(self._ledger.acknowledged) < wanted:
            if time.monotonic() > deadline:
                self._complain(f"no result in {PATIENCE_SECONDS:g} s: {search.last_line()}")
                return
            time.sleep(0.1)
            self._ledger.look()
        if not search.running:
            self._complain(f"the search ended by itself with {search.process.returncode}: {search.last_line()}")

    def _wait_for_failure(self, search: SearchProcess, fault: Fault) -> None:
        """Until the candidate that has taken an order has failed for it."""
        orders, before = Orders(self._run), self._orders
        deadline = time.monotonic() + PATIENCE_SECONDS
        while search.running and time.monotonic() < deadline:
            self._orders = orders.taken()
            (id,) = self._orders.keys() - before.keys() or (None,)
            failed = {row["id"]: row["reason"] for row in read_events(self._journal) if row["type"] == "failed"}
            if id in failed:
                if not failed[id].startswith(FAILURES[fault.act]):
                    self._complain(f"{fault.name}: candidate {id} failed: {failed[id]}")
                return
            time.sleep(0.2)
        self._complain(f"{fault.name}: no candidate has failed for it")

    def _ended(self, search: SearchProcess, fault: Fault) -> None:
        code = search.wait()
        if code != fault.exit_code:
            self._complain(f"{fault.name}: exit code {code} instead of {fault.exit_code}")
        if not search.last_line().endswith(fault.last_line):
            self._complain(f"{fault.name}: the last line is {search.last_line()!r}")
        self._former.append((fault.name, search))
        self._search, self._ends = None, self._ends + 1

    def _complain(self, text: str) -> None:
        self.tally.complaints.append(text)
        print(text, file=sys.stderr, flush=True)


def besiege(folder: Path, number: int, seed: int, kinds: Sequence[Fault]) -> Tally:
    """A search hit by a number of faults, each of the kinds as often as any other, in random order."""
    rng = random.Random(seed)
    faults = [kinds[place % len(kinds)] for place in range(number)]
    rng.shuffle(faults)
    siege = Siege(folder, rng)
    try:
        for place, fault in enumerate(faults, start=1):
            began = time.monotonic()
            siege.hit(fault)
            print(f"{place}/{number} {fault.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        return siege.finish()
    finally:
        siege.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--only", default="", help="faults with these words in their names")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the search runs (a new temporary folder)")
    options = parser.parse_args(arguments)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="pqsearch-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    kinds = [fault for fault in all_faults() if options.only in fault.name]
    tally = besiege(folder, options.faults, options.seed, kinds)
    print(tally.table())
    return int(bool(tally.complaints or tally.lost or tally.twice))


if __name__ == "__main__":
    sys.exit(main())
