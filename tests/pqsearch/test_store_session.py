"""Working on a run in a store from begin to end."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from pqsearch import objects, store_session
from pqsearch.errors import SearchAborted, UserError
from pqsearch.journal.lock import Lock
from pqsearch.store import Store
from pqsearch.store_owner import Owner, look
from pqsearch.store_session import at_work, looking_on
from tests.s3 import Bucket
from tests.waiting import until


def _session(store: Store, said: list[str] | None = None, database: bool = False) -> AbstractContextManager[Any]:
    return at_work(store, database, (said if said is not None else []).append)


@pytest.fixture
def store(s3_bucket: Bucket, tmp_path: Path) -> Store:
    return Store(s3_bucket.url(), tmp_path / "here")


@pytest.fixture
def other(s3_bucket: Bucket, tmp_path: Path) -> Store:
    return Store(s3_bucket.url(), tmp_path / "there")


def test_a_folder_needs_nothing_of_it() -> None:
    with at_work(None, False, lambda text: None) as keeper, looking_on(None):
        assert keeper is None


def test_all_is_in_the_store_afterwards_also_when_the_work_breaks_off(store: Store, s3_bucket: Bucket) -> None:
    with pytest.raises(KeyboardInterrupt), _session(store):
        (store.folder / "spec.toml").write_text("")
        (store.folder / "logs").mkdir()
        (store.folder / "logs" / "pqsearch.log").write_text("begun")
        raise KeyboardInterrupt
    assert {"spec.toml", "logs/pqsearch.log"} < set(s3_bucket.objects())
    found = look(store.objects)
    assert found is not None and not found.open


def test_what_changes_is_taken_there_while_the_work_goes_on(
    store: Store, s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_session, "PUSH_SECONDS", 0.05)
    monkeypatch.setattr(store_session, "BEAT_SECONDS", 0.05)
    with _session(store):
        (store.folder / "spec.toml").write_text("")
        until(lambda: "spec.toml" in s3_bucket.objects())
        until(lambda: (found := look(store.objects)) is not None and found.beat > 2)


def test_a_stage_that_is_done_is_not_kept_waiting(store: Store, s3_bucket: Bucket) -> None:
    with _session(store) as keeper:
        (store.folder / "spec.toml").write_text("")
        keeper.push_soon()
        until(lambda: "spec.toml" in s3_bucket.objects())


def test_the_next_machine_begins_with_what_the_last_one_left(store: Store, other: Store) -> None:
    with _session(store):
        (store.folder / "spec.toml").write_text("")
        (store.folder / "plan.json").write_text("1")
    with _session(other):
        assert (other.folder / "plan.json").read_text() == "1"
        (other.folder / "plan.json").write_text("another")
    (store.folder / "model.pth").write_text("of the plan before")
    with _session(store):
        assert (store.folder / "plan.json").read_text() == "another"
        assert not (store.folder / "model.pth").exists()


def test_one_machine_has_one_at_work(store: Store) -> None:
    with _session(store):
        lock = Lock(store.folder / ".session.lock", wait_seconds=0.0)
        with pytest.raises(UserError, match="the run directory is in use by process"):
            lock.acquire()


def test_a_journal_that_somebody_still_writes_is_not_said_to_be_whole(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"the same command here takes it there\)$"), _session(store):
        (store.folder / "spec.toml").write_text("")
        (store.folder / "journal.jsonl").write_text("")
        held = Lock(store.folder / "journal.lock")
        held.acquire()
    held.release()
    with pytest.raises(UserError, match="its journal is a file on"), _session(other):
        raise AssertionError


def test_something_that_is_no_run_is_left_alone(store: Store, s3_bucket: Bucket) -> None:
    s3_bucket.put("small/thesis.txt", b"do not touch")
    words = r"is not empty and holds no run \(it has thesis.txt\); give an empty or a new folder$"
    with pytest.raises(UserError, match=words), _session(store):
        raise AssertionError
    assert set(s3_bucket.objects()) == {"thesis.txt"} and not store.folder.exists()


def test_a_run_that_was_removed_there_does_not_come_back_from_a_copy(store: Store, s3_bucket: Bucket) -> None:
    with _session(store):
        (store.folder / "spec.toml").write_text("")
    s3_bucket.remove()
    with (
        pytest.raises(UserError, match=r"is gone, and a copy of it is in \S+; remove that, too, to begin anew"),
        _session(store),
    ):
        raise AssertionError


def test_a_store_that_is_away_for_a_while_is_told_of_once_and_loses_nothing(
    store: Store, s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_session, "PUSH_SECONDS", 0.05)
    monkeypatch.setattr(objects, "PAUSE_SECONDS", 0.01)
    said: list[str] = []
    with _session(store, said):
        (store.folder / "spec.toml").write_text("")
        until(lambda: "spec.toml" in s3_bucket.objects())
        s3_bucket.server.ask_for_keys(True)
        (store.folder / "plan.json").write_text("1")
        until(lambda: said)
        (store.folder / "plan.json").write_text("22")
        s3_bucket.server.ask_for_keys(False)
        until(lambda: s3_bucket.objects().get("plan.json") == b"22")
    assert len(said) == 1 and said[0].startswith("warning: study.run_dir: s3://") and "goes on" in said[0]


def test_a_store_that_is_away_at_the_end_is_said_with_where_everything_is(store: Store, s3_bucket: Bucket) -> None:
    with (
        pytest.raises(
            UserError, match=r"gives no access .* \(everything is in \S+; the same command here takes it there\)$"
        ),
        _session(store),
    ):
        (store.folder / "spec.toml").write_text("")
        s3_bucket.server.ask_for_keys(True)
    s3_bucket.server.ask_for_keys(False)
    with _session(store):
        assert (store.folder / "spec.toml").is_file()
    assert "spec.toml" in s3_bucket.objects()


def test_who_was_succeeded_takes_nothing_there_any_more(
    store: Store, other: Store, s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_session, "BEAT_SECONDS", 0.05)
    said: list[str] = []
    with (
        pytest.raises(SearchAborted, match="another machine has taken the run over"),
        _session(store, said, database=True),
    ):
        (store.folder / "spec.toml").write_text("")
        Owner.here(other, True).write(other.objects)
        until(lambda: said)
    assert "spec.toml" not in s3_bucket.objects()


def test_who_looks_on_sees_what_comes(store: Store, other: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_session, "LOOK_SECONDS", 0.05)
    with looking_on(other):
        (store.folder / "logs").mkdir(parents=True)
        (store.folder / "spec.toml").write_text("")
        store.push()
        until(lambda: (other.folder / "spec.toml").is_file())
