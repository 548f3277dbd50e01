"""Objects of a real S3 server, and of folders that pyarrow and fsspec open."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pqsearch import objects
from pqsearch.errors import UserError
from pqsearch.objects import Objects
from tests.s3 import SECRET, Bucket, Server


@pytest.fixture(params=["s3", "file", "fsspec+file"])
def some(request: pytest.FixtureRequest, s3_bucket: Bucket, tmp_path: Path) -> Objects:
    """Objects of each kind of store."""
    return Objects(s3_bucket.url("a/b") if request.param == "s3" else f"{request.param}://{tmp_path}/a/b")


def test_what_was_written_is_read_listed_and_removed(some: Objects, tmp_path: Path) -> None:
    some.check()
    assert (some.list(), some.read("x"), some.look("x")) == ({}, None, None)
    found = some.write("x", b"1")
    (tmp_path / "big").write_bytes(bytes(range(256)) * 50_000)
    some.upload(tmp_path / "big", "deep/er/big")
    assert found == some.look("x")
    assert {name: size for name, (size, _) in some.list().items()} == {"x": 1, "deep/er/big": 12_800_000}
    assert set(some.list("deep")) == {"deep/er/big"}
    assert some.download("deep/er/big", tmp_path / "here" / "big", 0o644) == some.look("deep/er/big")
    assert (tmp_path / "here" / "big").read_bytes() == (tmp_path / "big").read_bytes()
    some.remove("x")
    some.remove("x")
    assert some.read("x") is None
    assert some.download("x", tmp_path / "here" / "x", 0o644) is None
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["big"]


def test_another_process_gets_the_address_and_connects_by_itself(some: Objects) -> None:
    some.write("x", b"1")
    assert pickle.loads(pickle.dumps(some)).read("x") == b"1"


def test_an_upload_that_breaks_off_leaves_no_half_object(some: Objects, tmp_path: Path) -> None:
    def breaks(stream: object) -> None:
        stream.write(b"half")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        some._put("x", breaks)
    assert some.list() == {}


def test_a_file_that_arrives_damaged_is_sent_again(
    some: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, sent = Objects._put, []

    def with_the_framing_left_in(self: Objects, name: str, fill: Callable[[Any], object]) -> None:
        sent.append(name)
        if len(sent) == 1:
            put(self, name, lambda stream: stream.write(b"4\r\nfile\r\n0\r\n"))
        else:
            put(self, name, fill)

    monkeypatch.setattr(objects, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(Objects, "_put", with_the_framing_left_in)
    (tmp_path / "x").write_bytes(b"file")
    found = some.upload(tmp_path / "x", "x")
    assert found is not None and found[0] == 4
    assert some.read("x") == b"file" and len(sent) == 2


def test_a_file_that_is_gone_is_no_trouble_of_the_store(some: Objects, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        some.upload(tmp_path / "nothing", "x")


def test_a_bucket_that_is_not_there_is_named(s3_bucket: Bucket) -> None:
    url = s3_bucket.url().replace(s3_bucket.name, "nowhere")
    with pytest.raises(
        UserError, match=r"^study.run_dir: s3://nowhere/small\S+: there is no bucket 'nowhere'; make it, or name"
    ):
        Objects(url).check()


def test_keys_that_are_not_good_are_said_to_be_not_good_and_not_shown(s3_bucket: Bucket) -> None:
    s3_bucket.server.ask_for_keys(True)
    with pytest.raises(
        UserError, match=r"the store gives no access \(.*\); check the keys, and what they may do$"
    ) as caught:
        Objects(s3_bucket.url()).check()
    assert SECRET not in str(caught.value)


def test_an_option_that_nobody_knows_is_said_with_what_pyarrow_makes_of_it(s3_bucket: Bucket) -> None:
    with pytest.raises(
        UserError, match=r"cannot be opened \(Unexpected query parameter in S3 URI: 'colour'\); write s3://"
    ):
        Objects(f"{s3_bucket.url()}&colour=red").check()


def test_a_server_that_is_not_there_is_said_once_and_one_that_comes_is_waited_for(
    s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Server()
    away = Objects(Bucket(gone, "runs").url())
    with pytest.raises(UserError, match=r"the store cannot be reached \(.*\); check the address and the network$"):
        away.check()
    monkeypatch.setattr(objects, "TRIES", 100)
    monkeypatch.setattr(objects, "PAUSE_SECONDS", 1e-9)
    from threading import Thread

    starting = Thread(target=gone.start)
    starting.start()
    try:
        assert away.list() == {}  # tried until it answers
    finally:
        starting.join()
        gone.stop()
