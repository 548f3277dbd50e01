"""Pack the evaluations of searches into one small file: what the landscape of benchmarks/algorithms.py is fitted to.

    python benchmarks/truth/pack.py RUN_DIR... FILE.json.gz [--prior RUN_DIR]

Genes are a digit per knob. Every measurement is kept: `loss`, `accuracy` and `seconds` have a list for each plan, first the
search's own, then those made again with fresh seeds. Several runs must be of one network, space and budgets; a plan that
several of them have was measured alike by all, and is kept once, with most repeats. `--prior` names a run of the same network
whose `[sensitivity]` is taken.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pqsearch.run_dir import RunDirectory, write_atomically
from pqsearch.study import read_study
from pqsearch.study_state import StudyState

#: Parts of the spec that say what was searched and measured; where the data lay is nobody's business.
SECTIONS = ("space", "budgets", "rungs", "quantizer", "pruning")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dirs", type=Path, nargs="+", metavar="RUN_DIR")
    parser.add_argument("file", type=Path)
    parser.add_argument("--prior", type=Path, help="another run whose sensitivity table goes with the plans")
    options = parser.parse_args()
    runs = [RunDirectory(path) for path in options.run_dirs]
    parts = [_parts(run) for run in runs]
    if parts.count(parts[0]) < len(parts):
        parser.error("runs of different networks, spaces, budgets or rungs cannot be packed together")
    packed = pack([read_study(run.journal) for run in runs], *parts[0])
    if options.prior is not None:
        probing = read_study(RunDirectory(options.prior).journal).probing
        packed["prior"] = None if probing is None else probing.prior()
    # Without a time in the header the same run gives the same file.
    write_atomically(options.file, gzip.compress(json.dumps(packed, separators=(",", ":")).encode(), mtime=0))
    print(f"{options.file}: {len(packed['genes'])} plans, {sum(map(len, packed['loss']))} measurements")
    return 0


def _parts(run: RunDirectory) -> tuple[dict[str, Any], Any]:
    """Of a run the sections of its spec that are kept, and its layers."""
    spec = run.read_spec().to_dict()
    return {section: spec[section] for section in SECTIONS if section in spec}, run.read(run.layers)


def pack(states: Sequence[StudyState], spec: dict[str, Any], layers: Any) -> dict[str, Any]:
    """Plans that were evaluated, in the order asked, with the parts of the spec and the network that they belong to."""
    found: dict[str, list[dict[str, Any]]] = {}
    for state in states:
        for row in state.candidates():
            if row["state"] == "done":
                genes = "".join(map(str, row["genes"]))
                found[genes] = max(found.get(genes, []), state.last_rung(row["id"]), key=len)
    measured = list(found.values())
    return {
        "spec": spec,
        "layers": layers,
        "genes": list(found),
        "loss": [[round(entry["loss"], 6) for entry in entries] for entries in measured],
        "accuracy": [[round(entry["accuracy"], 6) for entry in entries] for entries in measured],
        "seconds": [[round(sum(entry["seconds"].values()), 3) for entry in entries] for entries in measured],
    }


if __name__ == "__main__":
    sys.exit(main())
