"""Whether a search that was broken again and again proposed what an unbroken one proposes, given the same events."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from pqsearch.algorithm_of import algorithm_of
from pqsearch.asking import repaired
from pqsearch.journal.file import read_events
from pqsearch.open_study import settings
from pqsearch.plan import ModelInfo
from pqsearch.run_dir import RunDirectory
from pqsearch.space_of import space_of
from pqsearch.spec import Spec
from pqsearch.study_state import StudyState
from pqsearch.telling import Telling


def compared(spec: Spec, run: RunDirectory) -> tuple[int, int]:
    """How many proposals of a run's algorithm one that lived through all its events makes too, and how many there are."""
    info = ModelInfo.from_json(run.read(run.layers))
    space = space_of(spec, info)
    state = StudyState()
    told = Telling(
        lambda prior: algorithm_of(spec.algorithm, space.with_prior(prior), spec.study.seed),
        state,
        settings(spec),
        None,
    )
    same = proposed = 0
    events = read_events(Path(run.path) / "journal.jsonl")
    # What was committed together was asked together.
    for (kind, *_), group in groupby(events, lambda event: (event["type"], event["epoch"], event["time"])):
        together = list(group)
        if kind == "asked" and not any("role" in event["memo"] for event in together):
            ids = [event["id"] for event in together]
            proposals = told.algorithm.ask(range(ids[0], ids[-1] + 1))
            assert isinstance(proposals, list)
            found = repaired(proposals, space).tolist()
            same += sum(event["genes"] == genes for event, genes in zip(together, found, strict=True))
            proposed += len(together)
        for event in together:
            state.apply(event)
            if event["type"] not in ("probed", "failed") or event["id"] >= 0:
                told.see(event)
            elif state.informed and state.prior is not None:
                told.inform(state.prior)
    return same, proposed
