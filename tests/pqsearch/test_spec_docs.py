"""The spec's documentation and the spec that `pqsearch init` writes follow `pqsearch/spec.py`."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pqsearch import rooms
from pqsearch.spec import Spec, load_spec
from pqsearch.spec_docs import ROOM_OF_SECTION, commented_spec, spec_markdown
from pqsearch.spec_search import RungSpec
from pqsearch.type_problems import fields_of

ROOT = Path(__file__).resolve().parent.parent.parent
SECTIONS = {
    name: RungSpec.model_fields if name == "rungs" else fields_of((name,), Spec)
    for name in Spec.model_fields
    if name != "budgets"
}


def _section(text: str, title: str) -> str:
    """The text from a heading to the next one."""
    return text[text.index(f"## `{title}`") :].split("\n## ")[0]


def test_the_page_in_docs_is_current() -> None:
    assert (ROOT / "docs" / "spec.md").read_text() == spec_markdown(), "run `make docs`"


def test_the_module_writes_the_page(tmp_path: Path) -> None:
    target = tmp_path / "spec.md"
    subprocess.run([sys.executable, "-m", "pqsearch.spec_docs", target], check=True, cwd=ROOT)
    assert target.read_text() == spec_markdown()
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_has_a_row_with_its_meaning(name: str) -> None:
    text = _section(spec_markdown(), "[[rungs]]" if name == "rungs" else f"[{name}]")
    for key, field in SECTIONS[name].items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{key}` |")]
        assert field.description, f"{name}.{key} says nothing"
        assert row.endswith(f"| {field.description} |")


def test_types_ranges_and_defaults_are_told() -> None:
    text = spec_markdown()
    assert "| `seed` | whole number, in [0, 2147483647] | `0` |" in text
    assert "| `hours` | number, above 0 |  |" in text
    assert '| `source` | `gradients` or `table` or `none` | `"gradients"` |' in text
    assert "| `weight_bits` | list of whole number | `[2, 3, 4, 5, 6, 8]` |" in text
    assert "| `label_smoothing` | number, in [0, 1) | `0.0` |" in text
    assert "| `amp` | true or false | `true` |" in text
    assert "| `name` | text | required |" in text


def test_budgets_have_unit_and_range() -> None:
    text = _section(spec_markdown(), "[budgets]")
    for name in rooms.names("budgets"):
        assert f"| `{name}` | {rooms.constants('budgets', name)['UNIT']} |" in text
    assert "| `weight_bits` | bits | 1 to 32 |" in text


@pytest.mark.parametrize(("section", "room"), [pair for pair in ROOM_OF_SECTION.items() if pair[0] != "budgets"])
def test_sections_list_their_room_with_every_option(section: str, room: str) -> None:
    text = _section(spec_markdown(), f"[{section}]")
    for name in rooms.names(room):
        assert f"- `{name}`: {rooms.describe(room, name)}" in text
        for option in rooms.signature(room, name):
            assert f"  - `{option.name}` (" in text


def test_the_commented_spec_is_valid_and_sets_what_it_promises(tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    path.write_text(commented_spec())
    spec = load_spec(path)
    assert (spec.data.name, spec.model.name) == ("digits", "digits_net")
    assert spec.budgets == {"flops": 0.5, "weight_bits": 4, "act_bits": 4}
    assert [rung.kind for rung in spec.rungs] == ["calibrate", "fine_tune"]


def test_the_commented_spec_names_every_key() -> None:
    lines = {line.lstrip("# ").partition(" =")[0] for line in commented_spec().splitlines()}
    for section in SECTIONS.values():
        assert section.keys() <= lines
    assert set(rooms.names("budgets")) <= lines


def test_defaults_in_the_commented_spec_are_the_real_ones() -> None:
    """Uncommenting every default that has a value changes nothing."""
    lines = []
    for line in commented_spec().splitlines():
        key, equals, rest = line.removeprefix("# ").partition(" = ")
        given = rest.partition("# ")[0].strip()
        lines.append(f"{key} = {given}" if line.startswith("# ") and equals and given and "." not in key else line)
    uncommented = tomllib.loads("\n".join(lines))
    assert uncommented["finetune"]["top_k"] == 1
    assert uncommented["space"]["pin"] == {}
    assert Spec.model_validate(uncommented) == Spec.model_validate(tomllib.loads(commented_spec()))
