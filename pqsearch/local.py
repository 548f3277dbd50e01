"""The in-process runner: a study and an evaluator in one loop, for tests, notebooks and machines without Ray."""

from __future__ import annotations

from collections.abc import Callable

from pqsearch.errors import SearchAborted
from pqsearch.plan import Item, Result
from pqsearch.problem import Finished, Wait
from pqsearch.study import Study

#: Answers in a row without work, after which the study is taken to wait for a seat that nobody fills.
MOST_WAITS = 1000


def run_locally(study: Study, evaluate: Callable[[Item], Result], seat: str = "local", most: int | None = None) -> int:
    """Evaluate items one by one until the study is over or `most` are done; returns how many.

    The calls are those of a worker on a cluster. An exception in `evaluate` is a failure of that candidate. Raises
    `SearchAborted` when the study gives up, or waits for another seat that never reports.
    """
    study.join(seat, "local", {})
    done = waits = 0
    while most is None or done < most:
        answer = study.ask(seat)
        if isinstance(answer, Finished):
            break
        if isinstance(answer, Wait):
            # Alone, waiting only means that a phase of the study has just ended.
            waits += 1
            if waits > MOST_WAITS:
                raise SearchAborted("the study waits for work that another seat holds; that seat must report or leave")
            continue
        waits = 0
        for item in answer:
            try:
                result = evaluate(item)
            except Exception as error:
                study.fail(seat, item.id, f"{type(error).__name__}: {error}", item.repeat)
            else:
                study.report(seat, [result])
            done += 1
    if study.aborted:
        raise SearchAborted(study.aborted)
    return done
