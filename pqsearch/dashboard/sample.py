"""Which candidates are drawn: all that a line goes through or a person asks for, and of the others evenly chosen ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pqsearch.algorithms._fronts import fronts
from pqsearch.study_state import COMPARED, StudyState

#: Candidates drawn in one figure; more are one blot, and slow in a browser.
MOST_DRAWN = 1500
#: Of each kind of those that are always drawn.
MOST_KEPT = 300
#: Candidates that are brought to the front so far at once.
AT_ONCE = 500


def drawn(state: StudyState, most: int = MOST_DRAWN) -> list[int]:
    """Ids of candidates that are done, in the order asked: at most about `most`, whatever the study has.

    Always among them are those that were the best accuracy of their time, in the order asked or in the order ended, so that the
    line of the best is exact; those nothing betters at their cost; roles that are compared with; and those measured again.
    """
    ids = sorted(id for id in state.scores if state.by_id[id].state == "done")
    if len(ids) <= most:
        return ids
    accuracy = {id: _accuracy(state, id) for id in ids}
    by_end = [id for id in state.ended if id in accuracy]
    kept = {*_records(ids, [accuracy[id] for id in ids]), *_records(by_end, [accuracy[id] for id in by_end])}
    for name in state.settings["budgets"]:
        cheapest = sorted(ids, key=lambda id: (state.by_id[id].costs[name], -accuracy[id]))
        kept |= {*evenly(_records(cheapest, [accuracy[id] for id in cheapest]), MOST_KEPT)}
    again = [id for id in ids if (id, 1) in state.tasks]
    compared = [id for role in COMPARED for id in state.roles.get(role, ()) if id in accuracy]
    kept |= {*evenly(again, MOST_KEPT), *evenly(compared, MOST_KEPT)}
    others = [id for id in ids if id not in kept]
    return sorted({*kept, *evenly(others, max(0, most - len(kept)))})


def on_front(state: StudyState) -> list[int]:
    """Ids of the candidates that none betters in all objectives, under the budgets of today, in the order asked.

    A part of the candidates at a time, with those kept so far: among very many at once everyone is compared with everyone.
    """
    kept: list[int] = []
    ids = [id for id in sorted(state.scores) if state.by_id[id].state == "done" and id not in state.over]
    for start in range(0, len(ids), AT_ONCE):
        some = [*kept, *ids[start : start + AT_ONCE]]
        places = fronts(np.array([state.point(id) for id in some]), enough=1)
        kept = [some[place] for place in np.flatnonzero(places == 0).tolist()]
    return kept


def _accuracy(state: StudyState, id: int) -> float:
    """As the figures draw it: that of the search's own evaluation, at the last rung."""
    return next(
        (float(entry["accuracy"]) for entry in reversed(state.by_id[id].measurements) if entry["repeat"] == 0), 0.0
    )


def _records(ids: Sequence[int], values: Sequence[float]) -> list[int]:
    """Ids whose value is above all before it."""
    if not ids:
        return []
    before = np.concatenate([[-np.inf], np.maximum.accumulate(values)[:-1]])
    return [ids[place] for place in np.flatnonzero(np.asarray(values) > before).tolist()]


def evenly(ids: Sequence[int], most: int) -> list[int]:
    """All of `ids`, or `most` of them, the first and the last included."""
    places = np.linspace(0, len(ids) - 1, min(len(ids), most)).round().astype(np.int64)
    return [ids[place] for place in places.tolist()]
