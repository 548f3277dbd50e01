"""Prometheus scrapes a Ray that searches, and the board's queries are put to it: `make system-deps` installs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pqsearch.metric_names import METRICS, RAYS
from pqsearch.study import read_study
from tests.cluster.cases import CASES
from tests.conftest import write_spec
from tests.long.ray_head import RayHead, free_ports

pytestmark = pytest.mark.long

STUDY = "watched"
PATIENCE = 900.0
BOARD: dict[str, Any] = json.loads(CASES["grafana"].rendered().text)
PANELS = [(panel["title"], target["expr"]) for panel in BOARD["panels"] for target in panel["targets"]]


class Prometheus:
    """A server of its own on loopback, which reads the list of targets that Ray writes. Use it as a context."""

    def __init__(self, folder: Path, targets: Path) -> None:
        (port,) = free_ports(1)
        self._folder, self._address = folder, f"127.0.0.1:{port}"
        scrape = {"job_name": "ray", "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}]}
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [scrape]}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))

    def __enter__(self) -> Prometheus:
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus", f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}", f"--web.listen-address={self._address}",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait()

    def series(self, query: str, since: float) -> list[dict[str, Any]]:
        """What a query has given since then; nothing while the server does not answer yet."""
        asked = urllib.parse.urlencode({"query": query, "start": since, "end": time.time(), "step": "1s"})
        try:
            with urllib.request.urlopen(f"http://{self._address}/api/v1/query_range?{asked}", timeout=30) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from None
        except OSError:
            assert self._process.poll() is None, (self._folder / "prometheus.log").read_text()[-2000:]
            return []


class Watched:
    """A search that was ended once every metric had been seen, and what was seen of it."""

    def __init__(self, server: Prometheus, since: float, exported: str, actors: str, run: Path) -> None:
        self.server, self.since, self.exported, self.actors, self.run = server, since, exported, actors, run

    def series(self, query: str) -> list[dict[str, Any]]:
        return self.server.series(query.replace("$study", STUDY).replace("$budget", ".+"), self.since)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    rungs = [{"kind": "calibrate", "images": 64}, {"kind": "fine_tune", "steps": 40, "batch_size": 32}]
    spec = write_spec(folder, study__name=STUDY, study__evaluations=2000, rungs=rungs)
    since = time.time()
    with RayHead(folder, RAY_metrics_report_interval_ms="1000") as head:
        targets = head.session.resolve() / "prom_metrics_service_discovery.json"
        with Prometheus(folder, targets) as server, (folder / "search.log").open("wb") as log:
            search = subprocess.Popen(
                [sys.executable, "-m", "pqsearch", "search", str(spec)],
                stdout=log, stderr=log, env=head.environment(RAY_ADDRESS=head.gcs),
            )  # fmt: skip
            try:
                deadline = time.monotonic() + PATIENCE
                names = {f"{RAYS}{name}" for name in METRICS}
                while names:
                    assert search.poll() is None and time.monotonic() < deadline, (
                        f"never seen: {sorted(names)}; {(folder / 'search.log').read_text()[-2000:]}"
                    )
                    time.sleep(1.0)
                    names = {name for name in names if not server.series(name, since)}
                exported = head.exported()
                actors = head.actors()
                search.terminate()  # all is seen
                assert search.wait(PATIENCE) == 130, (folder / "search.log").read_text()[-2000:]
                yield Watched(server, since, exported, actors, folder / "run")
            finally:
                search.kill()
                search.wait()


@pytest.mark.parametrize(("title", "query"), PANELS)
def test_every_query_of_the_board_returns_a_series(watched: Watched, title: str, query: str) -> None:
    found = watched.series(query)
    assert found, title
    for series in found:
        assert (series["metric"]["study"], series["metric"]["algorithm"]) == (STUDY, "genetic")


def test_costs_have_a_series_for_each_budget_and_rungs_for_each_rung(watched: Watched) -> None:
    budgets = {series["metric"]["budget"] for series in watched.series(f"{RAYS}pqsearch_best_cost")}
    assert budgets >= {"flops", "weight_bits", "act_bits"}
    limits = {
        series["metric"]["budget"]: float(series["values"][-1][1])
        for series in watched.series(f"{RAYS}pqsearch_budget_limit")
    }
    assert limits == {"flops": 0.6, "weight_bits": 4.0, "act_bits": 5.0}
    assert {series["metric"]["rung"] for series in watched.series(f"{RAYS}pqsearch_measured")} == {"0", "1"}
    assert {series["metric"]["rung"] for series in watched.series(f"{RAYS}pqsearch_promotions")} == {"0"}


def test_what_was_scraped_grows_and_is_no_more_than_the_journal_has(watched: Watched) -> None:
    (series,) = watched.series(f'max by (study) ({RAYS}pqsearch_evaluations{{study="$study"}})')
    values = [float(value) for _, value in series["values"]]
    assert values == sorted(values)
    done, _ = read_study(watched.run / "journal.jsonl").reckoning()
    assert 0 < values[-1] <= done


def test_prometheus_has_nothing_against_names_and_help(watched: Watched) -> None:
    """Ray's own metrics, and the labels that it gives to ours, are not ours to mend."""
    ours = (line for line in watched.exported.splitlines(keepends=True) if "ray_pqsearch_" in line)
    lines = [re.sub(r'\b[A-Z]\w*="[^"]*",', "", line) for line in ours]
    assert any(line.startswith("# HELP") for line in lines)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input="".join(lines), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_workers_and_study_are_named_in_what_ray_shows(watched: Watched) -> None:
    actors = json.loads(watched.actors)
    workers = {actor["repr_name"] for actor in actors if actor["repr_name"].startswith(f"{STUDY}/worker-")}
    assert workers == {f"{STUDY}/worker-0", f"{STUDY}/worker-1"}
    (study,) = {actor["name"] for actor in actors if actor["name"]}
    assert study.startswith(f"{STUDY}/study-")
