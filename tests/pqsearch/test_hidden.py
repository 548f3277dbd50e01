"""Passwords stay out of what is shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pqsearch.errors import UserError
from pqsearch.hidden import drop_passwords, hide_passwords
from pqsearch.spec import load_spec, parse_spec
from tests.conftest import small_spec, write_spec


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:secret@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgresql://me:se:cr@et/@host/db", "postgresql://me:***@host/db"),
        ("postgres://:secret@/db", "postgres://:***@/db"),
        ("storage = 'postgresql://me:secret@host/db'", "storage = 'postgresql://me:***@host/db'"),
        ("postgresql://host/db?user=me&password=secret&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("host=a PASSWORD = secret", "host=a PASSWORD = ***"),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("postgresql://host:5432/db", "postgresql://host:5432/db"),
        ("at 12:30: mail me@example.org", "at 12:30: mail me@example.org"),
    ],
)
def test_what_is_a_password_is_hidden_and_nothing_else(text: str, shown: str) -> None:
    assert hide_passwords(text) == shown


def test_a_password_shows_in_no_complaint_about_a_spec(tmp_path: Path) -> None:
    url = "postgresql://me:open-sesame@host/db"
    cases = [
        lambda: parse_spec(small_spec(study__storage=[url])),
        lambda: parse_spec(small_spec(study__storage=url.replace("postgresql", "mysql"))),
        lambda: parse_spec(small_spec(study__storage=url.replace("sesame", "se@same"))),
        lambda: parse_spec(small_spec(study__storage=url.replace("sesame", "se/same"))),
        lambda: parse_spec(small_spec(study__storage=url.replace("sesame", "se same"))),
        lambda: parse_spec(small_spec(study=url)),
        lambda: parse_spec(small_spec(model__weights=3, study__storge=url)),
        lambda: load_spec(write_spec(tmp_path), [f"storage={url}"]),
        lambda: load_spec(write_spec(tmp_path), [f"study.name.storage={url}"]),
    ]
    for number, case in enumerate(cases):
        with pytest.raises(UserError) as caught:
            case()
        assert "open" not in str(caught.value), number


def test_those_who_need_no_database_get_a_spec_without_the_password() -> None:
    spec = parse_spec(small_spec(study__storage="postgresql://me:open-sesame@host/db"))
    assert "sesame" not in spec.without_passwords().to_toml()
    assert parse_spec(spec.without_passwords().to_dict()) == spec.without_passwords()
    plain = parse_spec(small_spec())
    assert plain.without_passwords() == plain


def test_who_holds_a_lock_is_said_without_the_password_of_its_command(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom pqsearch.journal.lock import Lock\n"
        "with Lock(Path(sys.argv[1])):\n    print(Path(sys.argv[1]).read_text())"
    )
    command = [sys.executable, "-c", code, tmp_path / "lock", "--set", "study.storage=postgresql://me:sesame@host/db"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "sesame" not in said
    assert "postgresql://me:***@host/db" in said


@pytest.mark.parametrize(
    ("address", "left"),
    [
        ("postgresql://me:p%40ss@host:5432/db", "postgresql://me@host:5432/db"),
        (
            "postgresql://me@host/db?password=x&connect_timeout=3&sslpassword=y",
            "postgresql://me@host/db?connect_timeout=3",
        ),
        ("postgresql://me@host/db?password=x", "postgresql://me@host/db"),
        ("postgresql://host:5432/db?application_name=a@b", "postgresql://host:5432/db?application_name=a@b"),
    ],
)
def test_an_address_without_its_password_still_leads_there(address: str, left: str) -> None:
    assert drop_passwords(address) == left
