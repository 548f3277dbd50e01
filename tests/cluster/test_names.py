from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.names import EXPORT, FOLDER, check, dns_name
from pqsearch.errors import UserError


def test_a_name_that_fits_stays() -> None:
    assert dns_name("digits-2", 47) == "digits-2"


def test_names_that_had_to_be_changed_stay_apart() -> None:
    found = {dns_name(name, 47) for name in ("a-b", "a_b", "a.b", "A-b", "a--b")}
    assert len(found) == 5


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]*", fullmatch=True), st.integers(20, 63))
def test_every_study_has_a_kubernetes_name(name: str, most: int) -> None:
    found = dns_name(name, most)
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", found)
    assert len(found) <= most


@pytest.mark.parametrize("value", ["relative", "/", "/a/../b", "/a b", "/a;b", "/a/", "/.hidden"])
def test_a_folder_is_absolute_and_leads_nowhere_else(value: str) -> None:
    with pytest.raises(UserError, match="--shared: must be an absolute folder"):
        check("shared", value, FOLDER)


def test_what_fits_or_is_not_given_passes() -> None:
    check("shared", "/mnt/search-1", FOLDER)
    check("nfs", "fs-1.internal:/export/x", EXPORT)
    check("nfs", None, EXPORT)
