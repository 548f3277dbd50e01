"""Every target of the room `clusters`, with every case of `tests/cluster/cases.py`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from pqsearch import rooms
from pqsearch.errors import UserError
from tests.cluster.cases import CASES, golden, order_of

TEXTS = ("str", "str | None", "list[str]", "list[str] | None")


def _text_options() -> Iterator[tuple[str, rooms.Option]]:
    for name, case in CASES.items():
        for option in rooms.signature("clusters", case.target):
            if option.type in TEXTS:
                yield name, option


def test_every_target_has_a_case() -> None:
    assert {case.target for case in CASES.values()} == set(rooms.names("clusters"))


@pytest.mark.parametrize("name", CASES)
def test_what_is_rendered_is_the_golden_file(name: str) -> None:
    assert CASES[name].rendered().text == golden(name).read_text(), (
        "`make golden` writes it anew; look at the difference"
    )


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in golden("slurm").parent.iterdir()} == {golden(name).name for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_rendering_twice_gives_the_same_value(name: str) -> None:
    assert CASES[name].rendered() == CASES[name].rendered()


@pytest.mark.parametrize("name", CASES)
def test_no_password_of_the_spec_is_written_down(name: str) -> None:
    changes = {**CASES[name].changes, "study__storage": "postgresql://me:hunter2@db/studies?sslpassword=hunter2"}
    text = rooms.load("clusters", CASES[name].target)(order_of(**changes), **CASES[name].options).text
    assert "hunter2" not in text


@pytest.mark.parametrize("name", CASES)
def test_a_password_among_the_overrides_is_not_written_down(name: str) -> None:
    order = order_of(overrides=("study.storage=postgresql://me:hunter2@db/studies",), **CASES[name].changes)
    try:
        text = rooms.load("clusters", CASES[name].target)(order, **CASES[name].options).text
    except UserError as error:
        text = str(error)
        assert "PGPASSWORD" in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("name", "option"), [pytest.param(*one, id=f"{one[0]}-{one[1].name}") for one in _text_options()]
)
@pytest.mark.parametrize("wrong", ["x\n#SBATCH --evil", "x\nevil: true", "\x00", ""])
def test_no_text_can_add_a_line_to_what_is_rendered(name: str, option: rooms.Option, wrong: str) -> None:
    value = [wrong] if option.type.startswith("list[") else wrong
    with pytest.raises(UserError) as caught:
        rooms.load("clusters", CASES[name].target)(
            order_of(**CASES[name].changes), **{**CASES[name].options, option.name: value}
        )
    assert str(caught.value).startswith(f"--{option.name.replace('_', '-')}: ")


def test_rendering_needs_neither_torch_nor_ray() -> None:
    code = (
        "import sys\nfrom tests.cluster.cases import CASES\n"
        "[case.rendered() for case in CASES.values()]\n"
        "print(sorted({'torch', 'ray'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
