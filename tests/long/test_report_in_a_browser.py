"""The report in a real browser: `make system-deps` installs chromium; without it this fails."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.long.browser import COMMAND
from tests.waiting import MOST_SECONDS

pytestmark = pytest.mark.long


def _title(finished_run: Path, folder: Path, script: str) -> str:
    """The title that a script, run by the report in the browser, leaves behind."""
    page = folder / "report.html"
    page.write_text(
        (finished_run / "report.html").read_text().replace("</head>", f"<script>{script}</script></head>", 1)
    )
    done = subprocess.run(
        [*COMMAND, "--virtual-time-budget=10000", f"--user-data-dir={folder / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, check=True, timeout=MOST_SECONDS,
    )  # fmt: skip
    return done.stdout[done.stdout.index("<title>") + 7 : done.stdout.index("</title>")]


def test_the_page_draws_its_figures_and_logs_no_error(finished_run: Path, tmp_path: Path) -> None:
    watch = (
        "window.problems = [];"
        "window.addEventListener('error', event => window.problems.push(event.message));"
        "window.addEventListener('load', () => setTimeout(() => { const drawn = document.querySelectorAll('svg.main-svg').length;"
        "document.title = `drawn ${drawn} problems ${window.problems.length}`; }, 2000));"
    )
    title = _title(finished_run, tmp_path, watch)
    assert title.endswith("problems 0")
    assert int(title.split()[1]) >= 4


def test_moving_a_slider_shows_another_plan_and_its_command(finished_run: Path, tmp_path: Path) -> None:
    move = (
        "window.addEventListener('load', () => {"
        "const block = document.querySelector('.slider'), input = block.querySelector('input');"
        "const seen = () => [block.querySelector('.limit').textContent, block.querySelector('.expected').textContent,"
        "block.querySelector('.command').textContent, block.querySelectorAll('.strip i').length].join('|');"
        "input.value = input.max; input.dispatchEvent(new Event('input')); const last = seen();"
        "input.value = 0; input.dispatchEvent(new Event('input'));"
        "document.title = seen() + '#' + last; });"
    )
    title = _title(finished_run, tmp_path, move)
    rows = json.loads((finished_run / "forecast.json").read_text())
    mine = [row for row in rows if row["budget"] == rows[0]["budget"]]
    for text, row in zip(title.split("#"), (mine[0], mine[-1]), strict=True):
        limit, expected, command, bars = text.split("|")
        assert float(limit) == row["limit"]
        assert expected.startswith(f"{100 * row['accuracy']:.1f} %")
        assert command.endswith(f"--budget {row['budget']}={row['limit']:g}")
        assert int(bars) == len(row["plan"]["groups"]) + 2 * len(row["plan"]["layers"])


def test_another_layer_can_be_picked_and_shows_its_own_values(finished_run: Path, tmp_path: Path) -> None:
    pick = (
        "window.addEventListener('load', () => setTimeout(() => {"
        "const figure = [...document.querySelectorAll('.js-plotly-plot')].find(one => one.layout.updatemenus);"
        "const button = figure.layout.updatemenus[0].buttons.at(-1);"
        "Plotly.update(figure, ...button.args).then(() => { document.title = button.label + '|' + figure.data[0].y.length + '|'"
        "+ figure.querySelector('.annotation-text').textContent; }); }, 1000));"
    )
    layer, bins, title = _title(finished_run, tmp_path, pick).split("|")
    last = json.loads((finished_run / "layer_values.json").read_text())["layers"][-1]
    assert layer == last["layer"] and int(bins) == len(last["weight"]["counts"])
    assert title.startswith(
        f"weights: {last['weight']['bits']} bits" if last["weight"]["low"] is not None else "weights: float"
    )
