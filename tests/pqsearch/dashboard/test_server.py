"""The server, by real HTTP on loopback, of real small studies."""

from __future__ import annotations

import gzip
import json
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pqsearch.cli import main
from tests.pqsearch.dashboard.serving import Serving, serving
from tests.pqsearch.dashboard.small_study import begin, search


def _get(serving: Serving, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Any:
    request = urllib.request.Request(serving.url + path, method=method, headers=headers or {})
    return urllib.request.urlopen(request, timeout=60)


def _status(serving: Serving, path: str, method: str) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as error:
        _get(serving, path, method)
    with error.value:
        return error.value.code, error.value.read().decode()


def _states(answer: Any) -> Iterator[dict[str, Any]]:
    """What a stream of news says, one after the other."""
    for line in answer:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


def test_the_page_its_parts_and_every_figure_are_served_and_interrupting_it_is_no_failure(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run)
    with serving(run.path) as server:
        assert server.url.startswith("http://127.0.0.1:") and "warning" not in server.said
        with _get(server, "") as page:
            text = page.read().decode()
            policy = page.headers["Content-Security-Policy"]
        assert "script-src 'self' 'sha256-" in policy and "'unsafe-eval'" not in policy
        assert str(run.path) not in text and "://" not in text  # nothing of the run, nothing from elsewhere
        for part, kind in (("plotly.js", "text/javascript"), ("style.css", "text/css")):
            with _get(server, part) as answer:
                assert answer.headers.get_content_type() == kind and answer.read()
        with _get(server, "state") as answer:
            state = json.load(answer)
        assert state["headline"]["state"] == "finished"
        for section in state["sections"]:
            if section["version"] is not None:
                with _get(server, f"figure/{section['id']}") as answer:
                    assert json.loads(gzip.decompress(answer.read()))["data"]
        assert _status(server, "figure/nothing", "GET")[0] == 404
        assert _status(server, "report", "GET")[0] == 404
        assert server.end(signal.SIGINT) == 0


def test_a_running_search_is_told_as_it_goes(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run, most=4)
    with serving(run.path) as server, _get(server, "events") as stream:
        states = _states(stream)
        first = next(states)
        search(run)
        seen = first["sections"][0]["version"]
        for state in states:
            assert state["server"] == first["server"]
            if state["headline"]["state"] == "finished" and state["sections"][0]["version"] != seen:
                break
        assert state["headline"]["progress"]["done"] > first["headline"]["progress"]["done"]


def test_it_ends_at_once_though_somebody_looks_on(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run)
    with serving(run.path) as server, _get(server, "events") as stream:
        next(_states(stream))
        assert server.end(signal.SIGTERM) == 0


def test_optuna_dashboard_shows_a_copy_with_our_figures_and_can_change_nothing(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run)
    before = run.optuna.read_bytes()
    with serving(run.path) as server:
        with _get(server, "dashboard", headers={"Accept-Encoding": "gzip"}) as answer:
            assert b"Optuna Dashboard" in answer.read()
        with _get(server, "api/studies") as answer:
            (study,) = json.load(answer)["study_summaries"]
        assert study["study_name"] == "small"
        with _get(server, f"api/studies/{study['study_id']}?after=0") as answer:
            detail = json.load(answer)
        assert len(detail["trials"]) == 6
        assert "plans" in {one["id"] for one in detail["plotly_graph_objects"]}
        for method in ("DELETE", "POST", "PUT"):
            code, words = _status(server, f"api/studies/{study['study_id']}", method)
            assert code == 405 and "nothing in it can be changed" in words
    assert run.optuna.read_bytes() == before


def test_where_there_is_no_mirror_the_page_says_so(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run)
    run.optuna.unlink()
    with serving(run.path) as server:
        with _get(server, "state") as answer:
            assert "no Optuna mirror yet" in json.load(answer)["optuna"]
        assert _status(server, "dashboard", "GET")[0] == 404


def test_another_host_than_loopback_is_warned_of(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run)
    with serving(run.path, "--host", "0.0.0.0") as server:
        assert server.said.startswith("warning: --host 0.0.0.0 lets everyone who reaches this machine read the run\n")


def test_mistakes_are_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> str:
        assert main(["dashboard", *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "is not a run directory" in said(str(tmp_path))
    run = begin(tmp_path)
    assert "no search has begun here" in said(str(run.path))
    search(run)
    assert said(str(run.path), "--port", "many") == "--port many: must be a whole number from 0 to 65535"
    assert "--host no.such.host.invalid: is no address of this machine" in said(
        str(run.path), "--host", "no.such.host.invalid"
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert said(str(run.path), "--port", port).startswith(
            f"--port {port}: cannot be had on 127.0.0.1 (Address already"
        )
    whole = run.journal_file.read_bytes()
    run.journal_file.write_bytes(whole.replace(b'"type":"asked"', b'"type":"oddly"', 1))
    assert "is damaged; `pqsearch repair RUN_DIR`" in said(str(run.path), "--port", "0")


def test_a_page_under_another_name_for_this_machine_gets_nothing(tmp_path: Path) -> None:
    run = begin(tmp_path)
    search(run)
    with serving(run.path) as server:
        port = server.url.rstrip("/").rpartition(":")[2]
        for host in ("localhost", "127.0.0.1", f"localhost:{port}", f"[::1]:{port}"):
            with _get(server, "state", headers={"Host": host}) as answer:
                assert answer.status == 200
        for host in ("elsewhere.example", f"elsewhere.example:{port}", "localhost.elsewhere.example"):
            with pytest.raises(urllib.error.HTTPError) as error:
                _get(server, "state", headers={"Host": host})
            with error.value:
                assert error.value.code == 403 and b"--host" in error.value.read()
