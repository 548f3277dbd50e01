"""The in-process runner: a study and an evaluator in one loop, for tests, notebooks and machines without Ray."""

from __future__ import annotations

from collections.abc import Callable

from pqsearch.plan import Item, Result
from pqsearch.problem import Finished, Wait
from pqsearch.study import Study


def run_locally(study: Study, evaluate: Callable[[Item], Result], seat: str = "local", most: int | None = None) -> int:
    """Evaluate items one by one until the study is over or `most` are done; returns how many.

    The calls are those of a worker on a cluster. An exception in `evaluate` is a failure of that candidate.
    """
    study.join(seat, "local", {})
    done = 0
    while most is None or done < most:
        answer = study.ask(seat)
        if isinstance(answer, Finished):
            break
        if isinstance(answer, Wait):
            # Alone, waiting only means that a phase of the study has just ended.
            continue
        for item in answer:
            try:
                study.report(seat, [evaluate(item)])
            except Exception as error:
                study.fail(seat, item.id, f"{type(error).__name__}: {error}", item.repeat)
            done += 1
    return done
