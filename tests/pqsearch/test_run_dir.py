"""What a run directory does about files that were never finished."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pqsearch.cli import main
from pqsearch.errors import UserError
from pqsearch.journal.lock import Lock
from pqsearch.journal.place import DatabasePlace, FilePlace
from pqsearch.run_dir import RunDirectory, append_line, write_atomically
from pqsearch.spec import Spec, parse_spec
from tests.conftest import small_spec

URL = "postgresql://me:open-sesame@127.0.0.1:9/nowhere"


def _spec(folder: Path, **changes: object) -> Spec:
    return parse_spec(small_spec(study__run_dir=str(folder / "run"), **changes))


def test_half_written_files_are_removed_and_nothing_else(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    kept = [run.plan, run.checkpoints / "plan-0123" / "result.json", run.logs / "started-a.jsonl", tmp_path / ".notes"]
    # The spec is written before the lock is taken: its writer may be alive.
    kept.append(tmp_path / ".spec.toml-abcd1234")
    half = [tmp_path / ".plan.json-abcd1234", run.checkpoints / "plan-0123" / ".checkpoint.pth-x_9zzzzz"]
    for path in kept + half:
        write_atomically(path, "content")
    run.sweep()
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "elsewhere" / "table.csv", tmp_path / "link.csv"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to(target)
    write_atomically(link, "new")
    assert link.is_symlink() and target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_a_pipe_gets_the_content_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()), daemon=True)
    reader.start()
    write_atomically(pipe, "content")
    reader.join(10)
    assert pipe.is_fifo() and got == ["content"]


def test_a_line_that_finds_no_room_leaves_nothing_of_itself(tmp_path: Path) -> None:
    """As on a disk that fills up in the middle of it: the system takes 20 bytes and refuses the rest."""
    path = tmp_path / "lines.jsonl"
    append_line(path, "a line of 17 byte")
    script = (
        "import resource, sys, pathlib, pqsearch.run_dir as it\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20, resource.RLIM_INFINITY))\n"
        "it.append_line(pathlib.Path(sys.argv[1]), 'another line')"
    )
    refused = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert refused.returncode == 1 and refused.stderr.endswith("File too large\n"), refused.stderr
    append_line(path, "the next")
    assert path.read_text() == "a line of 17 byte\nthe next\n"


def test_the_journal_is_where_the_runs_own_spec_says(tmp_path: Path) -> None:
    spec = _spec(tmp_path)
    run = RunDirectory.of(spec)
    run.prepare(spec)
    run.begin_journal("small")
    assert run.journal == FilePlace(tmp_path / "run" / "journal.jsonl")
    run.prepare(spec := _spec(tmp_path, study__storage=URL))
    assert run.journal == DatabasePlace(URL, None)
    assert not run.journal.exists()
    run.write(run.database, {"study": "small-0123"})
    assert RunDirectory.of(spec).journal == DatabasePlace(URL, "small-0123")


def test_a_journal_that_was_begun_stays_where_it_is(tmp_path: Path) -> None:
    file, database = _spec(tmp_path), _spec(tmp_path, study__storage=URL)
    run = RunDirectory.of(file)
    run.prepare(file)
    run.journal_file.touch()
    with pytest.raises(
        UserError, match=r"^study.storage: the journal of the run in .* is a file, the spec names a data"
    ):
        run.prepare(database)
    assert run.read_spec() == file
    run.journal_file.unlink()
    run.prepare(database)
    run.write(run.database, {"study": "small-0123"})
    with pytest.raises(
        UserError, match=r"^study.storage: the journal of the run in .* is in a database, the spec names no"
    ):
        run.prepare(file)
    # Another address of it is the user's affair: servers move, passwords change.
    run.prepare(_spec(tmp_path, study__storage=URL.replace("open-sesame", "other")))


LOOKING = [["evaluate"], ["meter"], ["merge-bn", "--out", "merged.pth"], ["plot"]]


@pytest.mark.parametrize("command", LOOKING, ids=[command[0] for command in LOOKING])
def test_what_looks_at_a_run_takes_overrides_of_its_spec_but_of_its_network(
    command: list[str], finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *more = command
    assert main([name, str(finished_run), *more, "--set", "data.score_images=0"]) == 2
    assert capsys.readouterr().err.startswith("data.score_images: ")
    assert main([name, str(finished_run), *more, "--set", "model.options.width=16"]) == 2
    assert capsys.readouterr().err == (
        f"model.options.width: the run in {finished_run} has 8, --set says 16, but its network stays as it is; leave that out\n"
    )


def test_a_spec_with_a_password_is_for_its_owner_only(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    for storage, private in ((None, False), (URL, True), ("postgresql://me@host/db", False)):
        run.prepare(_spec(tmp_path, **({"study__storage": storage} if storage else {})))
        assert (stat.S_IMODE(run.spec.stat().st_mode) == 0o600) is private, storage


@pytest.mark.parametrize("use", ["place.begin('x')", "place.open(lambda: 0.0)", "place.read_events()"])
def test_without_the_driver_the_extra_to_install_is_named_and_files_need_none(tmp_path: Path, use: str) -> None:
    code = (
        "import sys\nsys.modules['psycopg'] = None\nfrom pathlib import Path\n"
        "from pqsearch.journal.place import DatabasePlace, FilePlace\n"
        f"place = FilePlace(Path({str(tmp_path / 'j')!r}))\nplace.open(lambda: 0.0)[0].close()\n"
        f"place = DatabasePlace({URL!r}, 'study')\n"
        f"try:\n    {use}\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(
        "UserError study.storage: a PostgreSQL database needs psycopg, which is not installed"
    )
    assert "pip install 'pqsearch[postgres]'" in done.stdout


def test_importing_what_names_places_loads_no_driver() -> None:
    code = "import sys, json, pqsearch.study, pqsearch.open_study\nprint(json.dumps('psycopg' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False


def test_a_place_is_named_without_its_password() -> None:
    place = DatabasePlace(URL, "small-0123")
    for text in (str(place), repr(place), repr([place])):
        assert "postgresql://me:***@127.0.0.1:9/nowhere, study small-0123" in text


def test_a_relative_run_directory_outlives_what_ray_unpacks_a_job_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, unpacked = parse_spec(small_spec()), tmp_path / "working_dir_files" / "_ray_pkg_0123" / "sub"
    unpacked.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PQSEARCH_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert RunDirectory.of(spec).path == tmp_path / "runs" / "small"
    monkeypatch.chdir(unpacked)
    assert RunDirectory.of(spec).path == tmp_path / "home" / "pqsearch" / "runs" / "small"
    monkeypatch.setenv("PQSEARCH_RUNS", "~/mine")
    assert RunDirectory.of(spec).path == tmp_path / "home" / "mine" / "runs" / "small"
    monkeypatch.setenv("PQSEARCH_RUNS", "/mnt/shared")
    assert RunDirectory.of(spec).path == Path("/mnt/shared/runs/small")
    assert RunDirectory.of(_spec(tmp_path)).path == tmp_path / "run"


def test_a_spec_of_which_nothing_came_may_be_mended(tmp_path: Path) -> None:
    wrong, right = _spec(tmp_path, data__root="/nowhere"), _spec(tmp_path, data__root="/somewhere")
    run = RunDirectory.of(wrong)
    run.prepare(wrong)
    with Lock(run.lock):
        with pytest.raises(UserError, match=r"^data.root: the run in .* has '/nowhere'"):
            run.prepare(right)
        (run.logs / "pqsearch.log").write_text("data.root: /nowhere does not exist on node a")
    run.prepare(right)
    assert run.read_spec().data.root == "/somewhere"
    (run.checkpoints / "baseline.pth").write_bytes(b"something")
    with pytest.raises(UserError, match=r"^data.root: the run in .* has '/somewhere'"):
        run.prepare(wrong)


def test_paths_in_what_was_sent_with_a_job_are_the_same_in_every_attempt(tmp_path: Path) -> None:
    first, second, other = (
        _spec(tmp_path, model__weights=f"/tmp/ray/{path}/w.pth", study__plans=[f"/tmp/ray/{path}/plan.json"])
        for path in ("session_1/_ray_pkg_01/sub", "session_2/_ray_pkg_23/sub", "session_2/_ray_pkg_23/elsewhere")
    )
    run = RunDirectory.of(first)
    run.prepare(first)
    run.prepare(second)
    with pytest.raises(UserError) as caught:
        run.prepare(other)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["model.weights", "study.plans"]


def test_what_only_shows_how_far_something_is_ends_nothing_when_it_cannot_be_read(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    progress = tmp_path / "progress.json"
    assert run.glance(progress) is None
    progress.write_text('{"done": 1}')
    assert run.glance(progress) == {"done": 1}
    progress.write_text('22\n{"done": 1}')
    assert run.glance(progress) is None
    with pytest.raises(UserError, match=r"progress.json: is damaged"):
        run.read(progress)
