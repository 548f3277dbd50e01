"""What is wrong with a command line is one line, as every other mistake is."""

from __future__ import annotations

import pytest

from pqsearch.cli import main

MISTAKES = {
    "no spec": (["run"], "pqsearch run: the following arguments are required: SPEC; see pqsearch run --help"),
    "unknown option": (["run", "s.toml", "--foo"], "pqsearch: unrecognized arguments: --foo; see pqsearch --help"),
    "no number": (["plot", "runs/a", "--images", "many"], "argument --images: invalid int value: 'many'"),
    "below": (["cluster", "docker"], "pqsearch cluster: argument TARGET: invalid choice: 'docker'"),
}


@pytest.mark.parametrize(("arguments", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_command_line_that_says_nothing_is_told_in_a_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
