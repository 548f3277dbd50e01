"""What a target renders: a value that can be compared, and the text that is printed of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True)
class Rendered:
    """A script, or YAML documents with `notes` above them on how to use them."""

    value: str | tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        if isinstance(self.value, str):
            return self.value
        documents = (yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120) for document in self.value)
        return as_comments(self.notes) + "---\n".join(documents)


def as_comments(notes: tuple[str, ...]) -> str:
    """Comment lines; whatever a note holds cannot end its comment."""
    return "".join(f"# {line}".rstrip() + "\n" for note in notes for line in note.splitlines() or [""])


class _Dumper(yaml.SafeDumper):
    """Texts of several lines stay readable, and nothing refers to something further up."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
