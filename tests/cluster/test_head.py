"""The way to a job server: everything that can be in it is said in one line, with the way out."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import ray

from cluster.head import Head, own_lines
from pqsearch.cli import main
from pqsearch.errors import UserError


@contextmanager
def _server(status: int, answer: str) -> Iterator[str]:
    """Something on loopback that gives every request this answer."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *values: object) -> None:
            """Nothing to say."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("version", ["2.9.3", "3.1.0"])
def test_another_ray_on_the_cluster_is_named_with_ours(version: str) -> None:
    with _server(200, json.dumps({"ray_version": version})) as address, pytest.raises(UserError) as caught:
        Head(address)
    assert f"the cluster runs Ray {version}, this command Ray {ray.__version__}; pip install 'ray=={version}'" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (200, "<html>", "what answers there is no Ray job server"),
        (200, "[]", "what answers there is no Ray job server"),
        (404, "", "the job server refuses: Version check returned 404."),
        (500, "", "no Ray job server answers there (500"),
        (401, "Unauthorized", "the cluster asks for a token and got none; set RAY_AUTH_MODE=token"),
        (403, "Forbidden", "the cluster refuses the token that it was sent"),
    ],
)
def test_what_is_no_job_server_or_wants_a_token_is_said_in_a_line(status: int, answer: str, words: str) -> None:
    with _server(status, answer) as address, pytest.raises(UserError) as caught:
        Head(address)
    (problem,) = caught.value.problems
    assert problem.startswith(f"--address {address}: ")
    assert words in problem
    assert "\n" not in problem


@pytest.mark.parametrize("address", ["head:8265", "ray://head:10001", "http://", "http://head:port", "os://system"])
def test_what_is_no_address_is_refused_before_anything_is_looked_up(address: str) -> None:
    with pytest.raises(UserError, match="must be http://HOST:PORT"):
        Head(address)


COMMANDS: dict[str, Callable[[str], list[str]]] = {
    "jobs": lambda address: ["jobs", "--address", address],
    "status": lambda address: ["status", "x-1", "--address", address],
    "logs": lambda address: ["logs", "x-1", "--address", address],
    "stop": lambda address: ["stop", "x-1", "--address", address],
    "fetch": lambda address: ["fetch", "x-1", "--address", address],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_ends_with_2_and_one_line_where_nobody_listens(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))  # taken, and nobody listens
        address = f"http://127.0.0.1:{one.getsockname()[1]}"
        assert main(COMMANDS[name](address)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"--address {address}: cannot be reached (Connection refused); give http://HEAD:8265")


def test_the_address_that_is_given_outranks_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    with _server(200, json.dumps({"ray_version": ray.__version__})) as address:
        assert Head(address).address == address


def test_what_ray_writes_into_a_log_is_told_from_what_the_command_printed() -> None:
    log = (
        "2026-11-28 10:28:07,294\tINFO job_manager.py:581 -- Runtime env is setting up.\n"
        "Running entrypoint for job small-1: python -m pqsearch run spec.toml\n\nsearch 3/9 running 2\n"
    )
    assert own_lines(log) == ["search 3/9 running 2"]
