"""Pack the evaluations of a search into one small file: what the landscape of benchmarks/algorithms.py is fitted to.

    python benchmarks/truth/pack.py RUN_DIR FILE.json.gz [--prior RUN_DIR]

Genes are a digit per knob. Every measurement is kept: `loss`, `accuracy` and `seconds` have a list for each plan, first the
search's own, then those made again with fresh seeds. `--prior` names a run of the same network whose `[sensitivity]` is taken.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from pathlib import Path
from typing import Any

from pqsearch.run_dir import RunDirectory, write_atomically
from pqsearch.study import read_study
from pqsearch.study_state import StudyState

#: Parts of the spec that say what was searched and measured; where the data lay is nobody's business.
SECTIONS = ("space", "budgets", "rungs", "quantizer", "pruning")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--prior", type=Path, help="another run whose sensitivity table goes with the plans")
    options = parser.parse_args()
    run = RunDirectory(options.run_dir)
    spec = run.read_spec().to_dict()
    kept = {section: spec[section] for section in SECTIONS if section in spec}
    packed = pack(read_study(run.journal), kept, run.read(run.layers))
    if options.prior is not None:
        probing = read_study(RunDirectory(options.prior).journal).probing
        packed["prior"] = None if probing is None else probing.prior()
    # Without a time in the header the same run gives the same file.
    write_atomically(options.file, gzip.compress(json.dumps(packed, separators=(",", ":")).encode(), mtime=0))
    print(f"{options.file}: {len(packed['genes'])} plans, {sum(map(len, packed['loss']))} measurements")
    return 0


def pack(state: StudyState, spec: dict[str, Any], layers: Any) -> dict[str, Any]:
    """Plans that were evaluated, in the order asked, with the parts of the spec and the network that they belong to."""
    rows = [row for row in state.candidates() if row["state"] == "done"]
    measured = [state.last_rung(row["id"]) for row in rows]
    return {
        "spec": spec,
        "layers": layers,
        "genes": ["".join(map(str, row["genes"])) for row in rows],
        "loss": [[round(entry["loss"], 6) for entry in entries] for entries in measured],
        "accuracy": [[round(entry["accuracy"], 6) for entry in entries] for entries in measured],
        "seconds": [[round(sum(entry["seconds"].values()), 3) for entry in entries] for entries in measured],
    }


if __name__ == "__main__":
    sys.exit(main())
