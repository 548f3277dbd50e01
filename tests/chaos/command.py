"""`pqsearch`, with workers that take orders: python -m tests.chaos.command search SPEC."""

from __future__ import annotations

from functools import partial

from pqsearch.cli import main
from pqsearch.tune import driver
from tests.chaos.obedient import Obedient

if __name__ == "__main__":
    driver.search = partial(driver.search, worker=Obedient)  # type: ignore[assignment]
    raise SystemExit(main())
