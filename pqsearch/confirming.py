"""Which plans are measured again before one is called the best."""

from __future__ import annotations

from itertools import chain, zip_longest

from pqsearch.settings import Settings
from pqsearch.study_state import COMPARED, StudyState
from pqsearch.telling import Telling


def worth_confirming(state: StudyState, told: Telling, settings: Settings) -> list[int]:
    """The leaders, by turns as the algorithm sees them and by score, and the best of each role that they will be compared with."""
    number = settings.confirm
    if not number:
        return []
    ids = [row["id"] for row in state.leading(number)]
    if settings.target is None:
        in_turn = zip_longest(told.leading(number), ids)
        ids = [id for id in dict.fromkeys(chain.from_iterable(in_turn)) if id is not None][:number]
    for role in COMPARED:
        found = state.best(role)
        if found is not None and found["id"] not in ids:
            ids.append(found["id"])
    return ids
