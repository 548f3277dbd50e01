"""Who may go on with a run in a store."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pqsearch import store_owner
from pqsearch.errors import UserError
from pqsearch.store import Store
from pqsearch.store_owner import OWNER, Owner, give_back, keep, look, take
from tests.s3 import Bucket


@pytest.fixture
def machines(s3_bucket: Bucket, tmp_path: Path) -> list[Store]:
    """The same run's copies on two machines."""
    return [Store(s3_bucket.url(), tmp_path / name) for name in ("one", "other")]


def _nothing(text: str) -> None:
    raise AssertionError(text)


def _take(store: Store, database: bool = False) -> bool:
    return take(store, Owner.here(store, database), _nothing)


def test_a_run_that_was_given_back_whole_is_anybodys(machines: list[Store]) -> None:
    one, other = machines
    assert _take(one)
    give_back(one.objects, Owner.here(one, False))
    assert not _take(other), "another copy is the newest"
    give_back(other.objects, Owner.here(other, False))
    assert not _take(one)
    assert one.objects.list("claims") == {}


def test_a_machine_goes_on_with_what_it_did_not_give_back(machines: list[Store]) -> None:
    one, _ = machines
    assert _take(one) and _take(one)


def test_a_journal_in_a_file_is_continued_where_it_is(machines: list[Store]) -> None:
    one, other = machines
    _take(one)
    with pytest.raises(UserError) as caught:
        _take(other)
    (line,) = caught.value.problems
    assert (
        f"its journal is a file on {Owner.here(one, False).host}, in {one.folder}, and not whole in the store" in line
    )
    assert "run the command there, or keep the journal of another run in PostgreSQL (study.storage)" in line
    # Whoever takes the note away decides that what is missing may be lost.
    other.objects.remove(OWNER)
    assert _take(other)


def test_an_owner_that_gives_a_sign_of_life_keeps_its_run(machines: list[Store]) -> None:
    one, other = machines
    owner, said = Owner.here(one, True), list[str]()
    take(one, owner, _nothing)

    def say(text: str) -> None:
        said.append(text)
        keep(one.objects, owner)

    with pytest.raises(UserError, match=r"is in use by process \d+ on \S+ since .*; wait for it or stop it$"):
        take(other, Owner.here(other, True), say)
    assert "may be at work on it; waits up to " in said[0]


def test_an_owner_that_gives_none_is_succeeded_and_notices(
    machines: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = machines
    owner = Owner.here(one, True)
    take(one, owner, _nothing)
    monkeypatch.setattr(store_owner, "GONE_SECONDS", 0.0)
    assert not take(other, Owner.here(other, True), _nothing)
    assert keep(one.objects, owner) is None
    with pytest.raises(UserError, match="another machine has taken the run over"):
        give_back(one.objects, owner)
    found = look(other.objects)
    assert found is not None and found.id == other.id() and found.open


def test_an_owner_that_gives_its_run_back_is_waited_for(machines: list[Store]) -> None:
    one, other = machines
    owner = Owner.here(one, True)
    take(one, owner, _nothing)
    assert not take(other, Owner.here(other, True), lambda text: give_back(one.objects, owner))


def test_of_two_that_begin_at_the_same_moment_at_most_one_does(machines: list[Store]) -> None:
    began: list[Store] = []

    def begin(store: Store) -> None:
        try:
            _take(store)
        except UserError as error:
            assert "another machine begins on it at this moment" in str(error) or "its journal is a file on" in str(
                error
            )
        else:
            began.append(store)

    for _ in range(5):
        began.clear()
        machines[0].objects.remove(OWNER)
        threads = [threading.Thread(target=begin, args=(store,)) for store in machines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(began) <= 1
        found = look(machines[0].objects)
        assert [store.id() for store in began] == ([found.id] if found is not None else [])


def test_a_claim_that_somebody_died_with_is_in_the_way_for_a_moment(
    machines: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = machines
    one.objects.write("claims/0123", b"")
    with pytest.raises(UserError, match="another machine begins on it at this moment; try again"):
        _take(one)
    monkeypatch.setattr(store_owner, "CLAIM_SECONDS", -1.0)
    assert _take(one)
    assert one.objects.list("claims") == {}


def test_a_note_of_the_owner_that_cannot_be_read_is_named(machines: list[Store]) -> None:
    one, _ = machines
    one.objects.write(OWNER, b"{}")
    with pytest.raises(UserError, match=r"owner\.json there is damaged; remove it if nobody works on the run"):
        _take(one)


def test_signs_of_life_differ(machines: list[Store]) -> None:
    one, _ = machines
    owner = Owner.here(one, True)
    take(one, owner, _nothing)
    assert keep(one.objects, owner) == replace(owner, beat=1)
