"""Copies of a run directory on several machines, and what goes between them and a real S3 server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pqsearch.errors import UserError
from pqsearch.spec import load_spec, parse_spec
from pqsearch.store import Store, everything, results, shared, store_of
from tests.conftest import small_spec
from tests.s3 import Bucket


@pytest.fixture
def here(s3_bucket: Bucket, tmp_path: Path) -> Store:
    """This machine's copy."""
    return Store(s3_bucket.url(), tmp_path / "here")


@pytest.fixture
def there(s3_bucket: Bucket, tmp_path: Path) -> Store:
    """Another machine's."""
    return Store(s3_bucket.url(), tmp_path / "there")


def _write(store: Store, name: str, text: str) -> None:
    """A file with a time of its own, as files have that are written one after the other."""
    path = store.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _files(store: Store) -> dict[str, str]:
    found = (path for path in store.folder.rglob("[!.]*") if path.is_file())
    return {path.relative_to(store.folder).as_posix(): path.read_text() for path in found}


def test_a_folder_is_in_no_store() -> None:
    assert store_of("runs/small") is None and store_of(Path("s3://runs/small")) is None
    assert store_of("s3://runs/small") is not None


def test_keys_in_an_address_from_a_command_line_are_not_shown() -> None:
    with pytest.raises(UserError, match="keys must not stand in an address") as caught:
        store_of("s3://KEY:open-sesame@runs/small")
    assert "open-sesame" not in str(caught.value)


def test_what_one_machine_writes_the_other_brings(here: Store, there: Store) -> None:
    _write(here, "baseline.json", "1")
    _write(here, "checkpoints/plan-0/result.json", "2")
    here.push()
    there.pull()
    assert _files(there) == {"baseline.json": "1", "checkpoints/plan-0/result.json": "2"}
    _write(there, "baseline.json", "another")
    there.push()
    here.pull()
    assert _files(here)["baseline.json"] == "another"


def test_only_what_changed_travels(here: Store, there: Store, s3_bucket: Bucket) -> None:
    _write(here, "a.json", "1")
    _write(here, "b.json", "1")
    here.push()
    there.pull()
    before, files = here.objects.list(), {name: (there.folder / name).stat().st_ino for name in ("a.json", "b.json")}
    s3_bucket.put("small/a.json", b"from outside")
    _write(here, "b.json", "22")
    here.push()
    there.pull()
    assert here.objects.list()["a.json"] != before["a.json"], "a.json did not change here and was left alone"
    assert _files(there) == {"a.json": "from outside", "b.json": "22"}
    files = {name: (there.folder / name).stat().st_ino for name in files}
    there.pull()
    assert files == {name: (there.folder / name).stat().st_ino for name in files}


def test_what_lives_on_one_machine_stays_there(here: Store, s3_bucket: Bucket) -> None:
    kept = ["scratch/1-0-0.pth", "run.lock", ".spec.toml-abcd1234", "tensorboard/plan-1/events", "resolved/x/plan.json"]
    for name in [*kept, "resolved/x.json", "logs/ray_tune/1/result.json"]:
        _write(here, name, "1")
    here.push()
    assert set(s3_bucket.objects()) == {"resolved/x.json", "logs/ray_tune/1/result.json"}
    assert not any(shared(name) for name in ("owner.json", "claims/1", "scratch/seen-1"))
    assert not results("checkpoints/plan-0/checkpoint.pth") and not results("logs/ray_tune/1/result.json")


def test_changes_on_both_sides_are_settled_as_it_was_asked(here: Store, there: Store) -> None:
    for text, who in (("1", here), ("from there", there)):
        _write(who, "plan.json", text)
        who.push()
        here.pull()
    _write(here, "plan.json", "from here")
    _write(here, "only-here.json", "1")
    here.pull()
    assert _files(here)["plan.json"] == "from here", "it changed here alone"
    _write(there, "plan.json", "from there again")
    there.push()
    here.pull()
    assert _files(here)["plan.json"] == "from here"
    here.pull(theirs=True)
    assert _files(here) == {"plan.json": "from there again", "only-here.json": "1"}
    _write(here, "plan.json", "from here")
    here.pull(theirs=True)
    assert _files(here)["plan.json"] == "from here", "there is nothing new there that would count"
    here.pull(mirror=True)
    assert _files(here) == {"plan.json": "from there again"}


def test_a_copy_that_was_removed_comes_back_and_takes_nothing_with_it(here: Store, s3_bucket: Bucket) -> None:
    _write(here, "plan.json", "1")
    _write(here, "checkpoints/plan-0/weights.pth", "2")
    here.push()
    (here.folder / "plan.json").unlink()
    here.push()
    here.pull()
    assert _files(here) == {"plan.json": "1", "checkpoints/plan-0/weights.pth": "2"}


def test_a_checkpoint_goes_when_what_it_was_for_is_done_and_what_is_forgotten_stays_away(
    here: Store, there: Store, s3_bucket: Bucket
) -> None:
    for name in ("checkpoints/plan-0/checkpoint.pth", "model.pth"):
        _write(here, name, "1")
    here.push()
    (here.folder / "checkpoints/plan-0/checkpoint.pth").unlink()
    here.push()
    here.forget("model.pth")
    here.pull(everything)
    assert s3_bucket.objects() == {} and _files(here) == {}
    here.forget("model.pth")


def test_files_arrive_in_the_order_in_which_they_were_written(here: Store, s3_bucket: Bucket) -> None:
    for number, name in enumerate(["z/weights.pth", "m.npy", "a/result.json"]):
        _write(here, name, "1")
        os.utime(here.folder / name, ns=(0, number))
    seen: list[str] = []
    upload = here.objects.upload
    here.objects.upload = lambda path, name: (seen.append(name), upload(path, name))[1]  # type: ignore[method-assign]
    here.push()
    assert seen == ["z/weights.pth", "m.npy", "a/result.json"]


def test_a_password_of_the_database_stays_on_the_machine(here: Store, there: Store) -> None:
    spec = parse_spec(small_spec(study__storage="postgresql://me:open-sesame@host/db"))
    _write(here, "spec.toml", spec.to_toml())
    here.push()
    there.pull()
    assert load_spec(there.folder / "spec.toml").study.storage == "postgresql://me@host/db"
    assert (there.folder / "spec.toml").stat().st_mode & 0o777 == 0o600
    assert "open-sesame" in _files(here)["spec.toml"]


def test_processes_that_pull_at_the_same_time_bring_a_file_once_and_whole(here: Store, there: Store) -> None:
    _write(here, "baseline.pth", "0123456789abcdef" * 500_000)
    here.push()
    code = (
        "import sys; from pathlib import Path; from pqsearch.store import Store\n"
        "store = Store(sys.argv[1], Path(sys.argv[2])); store.pull(theirs=True)\n"
        "path = store.folder / 'baseline.pth'; print(path.stat().st_ino, path.stat().st_size)"
    )
    command = [sys.executable, "-c", code, there.url, str(there.folder)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate()[0] for process in processes]
    assert len(set(said)) == 1 and said[0].split()[1] == "8000000"


def test_a_name_that_leads_out_of_the_folder_is_not_followed(here: Store, s3_bucket: Bucket, tmp_path: Path) -> None:
    s3_bucket.put("small/plan.json", b"1")
    for name in ("small/../../outside", "small/x/../../../outside"):
        try:
            s3_bucket.put(name, b"1")
        except OSError:
            continue  # a server that takes no such name has nothing to give
    here.pull()
    assert _files(here) == {"plan.json": "1"}
    assert not (tmp_path / "outside").exists() and not (tmp_path.parent / "outside").exists()


def test_a_copy_that_cannot_be_written_is_named(s3_bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UserError, match=r"^study.run_dir: s3://.*: its copy here, .*/file/copy, cannot be written \(Not a dir"
    ):
        Store(s3_bucket.url(), tmp_path / "file" / "copy").pull()


def test_a_copy_is_known_by_a_name_of_its_own(here: Store, there: Store) -> None:
    assert here.id() == here.id() != there.id()
    assert not here.known()
    _write(here, "plan.json", "1")
    here.push()
    assert here.known()
