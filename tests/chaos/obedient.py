"""Workers that do what no worker should when they are told to, once for all with one candidate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pqsearch.plan import Item, Result
from pqsearch.run_dir import RunDirectory
from pqsearch.tune.worker import Worker
from tests.long.misbehaving import ACTS


class Orders:
    """Files in a run directory: one named after what is to be done, renamed by the candidate that does it from then on."""

    def __init__(self, run: Path) -> None:
        self._folder = run / "orders"

    def give(self, act: str) -> None:
        self._folder.mkdir(exist_ok=True)
        (self._folder / act).touch()

    def taken(self) -> dict[int, str]:
        """What candidates do, by their numbers."""
        return {int(path.name.split("-")[1]): path.name.split("-")[0] for path in self._folder.glob("*-*")}

    def of(self, id: int) -> str | None:
        """What a candidate is to do; it takes an order that nobody has taken yet."""
        mine = self.taken().get(id)
        if mine is not None:
            return mine
        for act in ACTS:
            try:
                (self._folder / act).rename(self._folder / f"{act}-{id}")
            except FileNotFoundError:
                continue
            return act
        return None


class Obedient(Worker):
    """Evaluates as any other, but for candidates under an order."""

    def load(self, config: dict[str, Any]) -> Any:
        self.orders = Orders(RunDirectory(config["run_dir"]).path)
        return super().load(config)

    def evaluate(self, item: Item) -> Result:
        act = self.orders.of(item.id) if item.id >= 0 and item.repeat == 0 else None
        return super().evaluate(item) if act is None else ACTS[act](item)
