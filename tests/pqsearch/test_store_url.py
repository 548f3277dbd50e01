"""What may stand in the address of a run directory, and where its copy is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pqsearch.errors import UserError
from pqsearch.hidden import hide_passwords
from pqsearch.spec import parse_spec
from pqsearch.store_url import below, folder_of, is_url, url_problems
from tests.conftest import small_spec

SECRET = "open/sesame+1"


@pytest.mark.parametrize(
    "url",
    ["s3://runs/small", "s3://runs", "gs://runs/a/b", "abfs://box@account.dfs.core.windows.net/a", "file:///mnt/runs/a",
     "fsspec+sftp://host/a", "s3://runs/a?region=eu-west-1&endpoint_override=http%3A%2F%2F127.0.0.1%3A5000"],
)  # fmt: skip
def test_addresses_of_stores_are_taken(url: str) -> None:
    assert is_url(url) and list(url_problems(url)) == []


@pytest.mark.parametrize("path", ["runs/small", "/mnt/runs", "~/runs", "C:/runs", "s3/small"])
def test_folders_are_no_addresses(path: str) -> None:
    assert not is_url(path) and list(url_problems(path)) == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s4://runs/small", "study.run_dir: unknown store s4:// in 's4://runs/small', choose from s3://, gs://"),
        ("s3:/runs/small", "study.run_dir: an address begins as s3://BUCKET/FOLDER, got 's3:/runs/small'"),
        ("s3:///small", "study.run_dir: no bucket in 's3:///small'; write s3://BUCKET/FOLDER"),
        ("s3://runs/../small", "study.run_dir: # and .. and spaces may not stand in an address"),
        ("s3://runs/a b", "study.run_dir: # and .. and spaces may not stand in an address"),
    ],
)
def test_a_wrong_address_is_one_line_with_the_way_out(url: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_spec(small_spec(study__run_dir=url))
    (line,) = caught.value.problems
    assert line.startswith(words)


@pytest.mark.parametrize(
    "url",
    [f"s3://KEY:{SECRET}@runs/small", f"abfs://account:{SECRET}@host/small", f"abfs://a@host/b?client_secret={SECRET}",
     f"s3://runs/small?session_token={SECRET}&region=x"],
)  # fmt: skip
def test_a_key_in_an_address_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_spec(small_spec(study__run_dir=url))
    (line,) = caught.value.problems
    assert line.startswith("study.run_dir: keys must not stand in an address, got ") and "AWS_SECRET_ACCESS_KEY" in line
    assert SECRET not in line and "KEY:" not in line
    assert SECRET not in hide_passwords(f"pqsearch run a.toml --set study.run_dir={url}")


def test_a_copy_is_in_the_cache_and_each_address_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    urls = ["s3://runs/small", "s3://runs/other", "s3://others/small", "gs://runs/small"]
    urls.append("s3://runs/small?endpoint_override=http%3A%2F%2Fa")
    folders = [folder_of(url) for url in urls]
    assert len(set(folders)) == len(urls)
    assert {folder.parent for folder in folders} == {tmp_path / "pqsearch" / "runs"}
    assert folders[0].name.startswith("small-")
    # Written otherwise, or reached otherwise, they are the same files.
    assert folder_of("s3://runs//small/") == folder_of("s3://runs/small?region=eu-west-1") == folders[0]


def test_a_folder_below_keeps_the_options_of_the_address() -> None:
    assert below("s3://runs/a/?region=x", "resolved/b") == "s3://runs/a/resolved/b?region=x"
