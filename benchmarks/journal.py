"""What the journal costs: reading a long one back, and committing a group of events.

    python benchmarks/journal.py [--evaluations 100000] [--postgres URL] [--folder FOLDER] [--json FILE]

Events are those of a study with 60 knobs and two rungs: an `asked` with its genes, two `reported`. Reading is
processor time of this process, without what a study makes of the events. A commit is the median over many groups, and its ratio to
a bare write and flush of the same bytes to the same disk, taken in turn. `--postgres` names a database that is measured as well; it
keeps what was written there.
"""

from __future__ import annotations

import os
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _report import Row, at_most, json_argument, report

from pqsearch.journal.place import DatabasePlace, FilePlace, Journal
from pqsearch.journal.record import line_of, stamp
from pqsearch.plan import Accuracy, Result
from pqsearch.study_events import asked, reported
from pqsearch.study_fold import Task

KNOBS = 60
COSTS = ("act_bits", "bitops", "flops", "params", "size_bytes", "weight_bits")
PHASES = ("surgery", "calibrate", "train", "save", "score")
RUNGS, GROUPS, GROUP_SIZES = 2, 60, (1, 32)
#: Processor seconds for reading 100,000 evaluations; other numbers in proportion.
MOST_SECONDS = 5.0
#: Milliseconds for each event of a group beyond the bare write. By the ratio a fast disk would look worse than a slow one.
MOST_MORE = 0.1


def events(evaluations: int) -> Iterator[dict[str, Any]]:
    """Those of a search, in the order in which one worker would cause them."""
    rng = random.Random(0)
    for id in range(evaluations):
        genes = tuple(rng.randrange(6) for _ in range(KNOBS))
        costs = {cost: rng.random() for cost in COSTS}
        yield asked(id, genes, {"move": "exchange", "of": id // 2}, f"{rng.getrandbits(64):016x}", costs, None)
        for rung in range(RUNGS):
            seconds = {phase: rng.random() for phase in PHASES}
            accuracy = Accuracy(rng.randrange(1000) / 1000, 1000)
            result = Result(id, rung, 0, accuracy, rng.random(), seconds, weights=f"{id}-0-{rung}.pth")
            yield reported(f"worker-{id % 16}", result, Task(id, 0))


def reading(folder: Path, evaluations: int) -> list[Row]:
    path = folder / "long.jsonl"
    with path.open("wb") as file:
        for seq, event in enumerate(events(evaluations)):
            file.writelines(map(line_of, stamp([event], seq, 1, 1.7e9 + seq / 100)))
    size = path.stat().st_size
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    found = FilePlace(path).read_events()
    seconds = time.process_time() - began
    resident = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert len(found) == (1 + RUNGS) * evaluations
    name = f"events of {evaluations} evaluations"
    return [
        at_most(f"{name}: read and checked", seconds, "processor s", MOST_SECONDS * evaluations / 100_000),
        Row(f"{name}: number", len(found), "events"),
        Row(f"{name}: in the file", size, "bytes"),
        Row(f"{name}: in memory", resident, "bytes"),
    ]


def committing(folder: Path, url: str | None) -> list[Row]:
    some = list(events(GROUPS * max(GROUP_SIZES)))
    journal, _, _ = FilePlace(folder / "commits.jsonl").open(time.time)
    rows = []
    for size in GROUP_SIZES:
        groups = [some[start : start + size] for start in range(0, GROUPS * size, size)]
        data = [b"".join(map(line_of, stamp(group, 0, 1, 1.7e9))) for group in groups]
        ours, bare = [], []
        handle, offset = os.open(folder / f"bare-{size}", os.O_RDWR | os.O_CREAT), 0
        for group, content in zip(groups, data, strict=True):
            ours.append(_milliseconds(journal, group))
            began = time.perf_counter()
            offset += os.pwrite(handle, content, offset)
            os.fsync(handle)
            bare.append(1000 * (time.perf_counter() - began))
        os.close(handle)
        mine, peer = statistics.median(ours), statistics.median(bare)
        rows += [
            Row(f"commit of {size}: file", mine, "ms"),
            Row(f"commit of {size}: bare pwrite and fsync", peer, "ms"),
            Row(f"commit of {size}: file, by the bare one's", mine / peer, "ratio"),
            at_most(f"commit of {size}: more than the bare one, per event", (mine - peer) / size, "ms", MOST_MORE),
        ]
        if url is not None:
            place = DatabasePlace(url, DatabasePlace(url, None).begin("benchmark"))
            database, _, _ = place.open(time.time)
            taken = statistics.median(_milliseconds(database, group) for group in groups)
            database.close()
            rows.append(Row(f"commit of {size}: PostgreSQL", taken, "ms"))
            rows.append(Row(f"commit of {size}: PostgreSQL, by the bare one's", taken / peer, "ratio"))
    journal.close()
    return rows


def _milliseconds(journal: Journal, group: list[dict[str, Any]]) -> float:
    began = time.perf_counter()
    journal.append(group)
    return 1000 * (time.perf_counter() - began)


def main() -> int:
    parser = json_argument(__doc__ or "")
    parser.add_argument("--evaluations", type=int, default=100_000, help="of the journal that is read")
    parser.add_argument("--postgres", metavar="URL", help="also commit to this PostgreSQL database")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; a temporary folder unless given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rows = reading(Path(folder), options.evaluations) + committing(Path(folder), options.postgres)
    return report(rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
