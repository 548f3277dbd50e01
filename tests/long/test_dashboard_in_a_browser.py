"""The dashboard in a real browser: `make system-deps` installs chromium; without it this fails."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import write_spec
from tests.long.browser import Tab, tab
from tests.pqsearch.dashboard.serving import ROOT, serving
from tests.pqsearch.dashboard.small_study import begin, search
from tests.waiting import MOST_SECONDS

pytestmark = pytest.mark.long

PLANTED = "<script>window.planted=1</script><img src=x onerror=window.planted=1>"
DRAWN = "document.querySelectorAll('#figures section svg.main-svg').length"
#: Sections that have a figure and are not drawn; those out of sight are not.
UNDRAWN = (
    "[...document.querySelectorAll('#figures section')].filter("
    "one => !one.querySelector('.scroll').hidden && !one.querySelector('svg.main-svg')).length"
)
STATE = "document.getElementById('state').textContent"


async def _see_all(page: Tab, width: int) -> None:
    """A window as high as the page, so that every figure is in sight; returns once each is drawn."""
    await page.until("document.querySelectorAll('#figures section').length > 5")
    await page.resize(width, 12000)
    await page.until(f"{UNDRAWN} === 0")


def test_every_figure_is_drawn_without_an_error_and_nothing_planted_runs(tmp_path: Path) -> None:
    run = begin(tmp_path, PLANTED)
    search(run, layer=PLANTED, study__evaluations=20)

    async def look(url: str) -> None:
        async with tab() as page:
            await page.open(url)
            await page.until(f"{STATE} === 'finished'")
            await _see_all(page, 1400)
            assert await page.value(DRAWN) >= 14
            assert await page.value("document.getElementById('failures').textContent.includes('<b>out of memory</b>')")
            assert await page.value("document.getElementById('figures').textContent.includes('<script>window.planted')")
            assert await page.value("window.planted === undefined && !document.querySelector('#figures img')")
            assert await page.value("!document.querySelector('main b b')")
            assert page.errors == []

    with serving(run.path) as server:
        asyncio.run(look(server.url))


def test_a_narrow_window_has_one_column_and_does_not_scroll_sideways(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run, study__evaluations=20)

    async def look(url: str) -> None:
        async with tab() as page:
            await page.open(url, 400, 800)
            await _see_all(page, 400)
            assert await page.value("document.documentElement.scrollWidth") <= 400
            lefts = "new Set([...document.querySelectorAll('#figures section')].map(one => one.getBoundingClientRect().left)).size"
            assert await page.value(lefts) == 1
            assert page.errors == []

    with serving(run.path) as server:
        asyncio.run(look(server.url))


def test_a_search_that_runs_moves_the_page(tmp_path: Path) -> None:
    """A real search on a real Ray, from another process."""
    spec = write_spec(tmp_path, study__evaluations=24)
    journal = tmp_path / "run" / "journal.jsonl"

    async def look() -> None:
        async with tab() as page:
            while not (journal.is_file() and journal.stat().st_size):
                assert searching.poll() is None
                await asyncio.sleep(0.2)
            with serving(tmp_path / "run") as server:
                await page.open(server.url)
                await page.until(f"{STATE} === 'running'")
                done = await page.value("Number(document.querySelector('.bar').getAttribute('aria-valuenow'))")
                first = await page.until(DRAWN)
                await page.until(f"Number(document.querySelector('.bar').getAttribute('aria-valuenow')) > {done + 5}")
                await page.until(f"{STATE} === 'finished'")
                await _see_all(page, 1400)
                assert await page.value(DRAWN) > first
                points = "document.querySelector('[data-id=evaluations] .plot').data.find(one => one.name === 'best so far').x.length"
                await page.until(f"{points} >= 10")
                assert page.errors == []

    command = [sys.executable, "-m", "pqsearch", "search", str(spec)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as searching:
        asyncio.run(asyncio.wait_for(look(), MOST_SECONDS))
        assert searching.wait(timeout=MOST_SECONDS) == 0


def test_a_page_that_lost_its_server_says_so_and_comes_back_by_itself(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run, most=4)

    async def look() -> None:
        async with tab() as page:
            with serving(run.path) as server:
                port = int(server.url.rstrip("/").rpartition(":")[2])
                await page.open(server.url)
                await page.until(f"{STATE} === 'stopped'")
                assert server.end() == 0
                await page.until("!document.getElementById('lost').hidden")
            search(run)
            with serving(run.path, port=port):
                await page.until(f"document.getElementById('lost').hidden && {STATE} === 'finished'")
                await _see_all(page, 1400)

    asyncio.run(look())


def test_optuna_dashboard_shows_the_trials_from_the_page(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run)

    async def look(url: str) -> None:
        async with tab() as page:
            await page.open(url)
            await page.until("!document.getElementById('optuna').hidden")
            await page.value("document.getElementById('optuna').click()")
            await page.until("location.pathname.startsWith('/dashboard') && document.body?.innerText.includes('small')")
            assert page.errors == []

    with serving(run.path) as server:
        asyncio.run(look(server.url))
