"""What is asked of a cluster: a spec, the command that runs it, and where its files are there."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pqsearch.errors import UserError
from pqsearch.hidden import drop_passwords, hide_passwords
from pqsearch.spec import Spec, paths_in
from pqsearch.store_url import is_url

#: Where a node may have a folder of its own: decoded images are made anew wherever they are missing.
OF_A_NODE = "data.cache"


@dataclass(frozen=True)
class Order:
    """A spec, as it was named in the folder `here`, with its overrides. `ray` is Ray's version."""

    spec: Spec
    source: str
    here: str
    ray: str
    overrides: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        """The command that runs the search where `source` is found. Raises `UserError` where it would show a password."""
        for text in self.overrides:
            if text != hide_passwords(text):
                raise UserError(
                    f"--set {hide_passwords(text)}: the password would be written down; leave it out and give it to the "
                    "nodes as PGPASSWORD or in ~/.pgpass"
                )
        return ["pqsearch", "run", self.source, *(part for text in self.overrides for part in ("--set", text))]

    def paths(self) -> Iterator[tuple[str, str]]:
        """Each path that the spec names, by its key."""
        yield from paths_in(self.spec.to_dict())
        yield "study.run_dir", self.spec.run_dir

    def paths_below(self, shared: str) -> dict[str, str]:
        """The same paths where all nodes see them: what is below `here` is below `shared` there.

        Raises `UserError` for a path that no node could see.
        """
        found, problems = {}, []
        for key, path in self.paths():
            moved = path if key == "study.run_dir" and is_url(path) else _moved(path, self.here, shared)
            if moved is None and key == OF_A_NODE:
                moved = path
            if moved is None:
                problems.append(
                    f"{key}: {path} is not seen by the nodes, which share {shared}; copy it there and name it as "
                    f"{shared}/{posixpath.basename(path)}, or keep it below {self.here}"
                )
            else:
                found[key] = moved
        if problems:
            raise UserError(problems)
        return found

    def spec_below(self, shared: str) -> Spec:
        """The spec with those paths, and without passwords."""
        changes: dict[str, dict[str, Any]] = {}
        plans = []
        for where, path in self.paths_below(shared).items():
            section, key = where.split(".")
            if key.startswith("plans["):
                plans.append(path)
            else:
                changes.setdefault(section, {})[key] = path
        if plans:
            changes["study"]["plans"] = plans
        if self.spec.study.storage is not None:
            changes["study"]["storage"] = drop_passwords(self.spec.study.storage)
        sections = {name: getattr(self.spec, name).model_copy(update=update) for name, update in changes.items()}
        return self.spec.model_copy(update=sections)


def _moved(path: str, here: str, shared: str) -> str | None:
    path = posixpath.normpath(posixpath.join(here, path))
    if _below(path, shared):
        return path
    if _below(path, here):
        return posixpath.normpath(posixpath.join(shared, posixpath.relpath(path, here)))
    return None


def _below(path: str, folder: str) -> bool:
    return posixpath.commonpath([path, folder]) == posixpath.normpath(folder)
