from __future__ import annotations

import tomllib

import pytest

from pqsearch.errors import UserError
from tests.cluster.cases import HERE, order_of


def test_what_is_below_the_current_folder_is_below_the_shared_one_there() -> None:
    order = order_of(
        data__root=f"{HERE}/data/../images", data__validation="/pqsearch/held/out", study__plans=[f"{HERE}/p.json"]
    )
    assert order.paths_below("/pqsearch") == {
        "data.root": "/pqsearch/images",
        "data.validation": "/pqsearch/held/out",
        "study.plans[0]": "/pqsearch/p.json",
        "study.run_dir": "/pqsearch/runs/small",
    }
    spec = order.spec_below("/pqsearch")
    assert (spec.data.root, spec.study.plans, spec.run_dir) == (
        "/pqsearch/images",
        ["/pqsearch/p.json"],
        "/pqsearch/runs/small",
    )


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("study__run_dir", "../elsewhere"),
        ("study__run_dir", "/tmp/run"),
        ("data__root", "/home/you/images"),
        ("data__root", "/pq"),
    ],
)
def test_a_path_that_no_other_node_sees_is_refused(key: str, path: str) -> None:
    with pytest.raises(UserError) as caught:
        order_of(**{key: path}).paths_below("/pqsearch")
    (line,) = caught.value.problems
    assert line.startswith(f"{key.replace('__', '.')}: {path} is not seen by the nodes")
    assert f"/pqsearch/{path.rsplit('/', 1)[1]}" in line


def test_a_cache_may_be_a_folder_of_each_node() -> None:
    assert order_of(data__cache="/scratch/me").paths_below("/pqsearch")["data.cache"] == "/scratch/me"


def test_a_run_directory_in_a_store_is_where_it_is_from_everywhere() -> None:
    order = order_of(study__run_dir="s3://runs/small?region=eu-west-1")
    assert order.spec_below("/pqsearch").run_dir == "s3://runs/small?region=eu-west-1"


def test_the_spec_that_is_sent_holds_what_was_set_and_no_defaults() -> None:
    order = order_of()
    sent = tomllib.loads(order.spec_below("/pqsearch").to_toml(defaults=False))
    assert sent.pop("study") == {
        **order.spec.model_dump(exclude_unset=True)["study"],
        "run_dir": "/pqsearch/runs/small",
    }
    assert sent == {key: value for key, value in order.spec.model_dump(exclude_unset=True).items() if key != "study"}


def test_the_address_of_a_database_goes_along_without_its_password() -> None:
    order = order_of(study__storage="postgresql://me:p%40ss@db:5432/studies?connect_timeout=3&password=x")
    assert order.spec_below("/pqsearch").study.storage == "postgresql://me@db:5432/studies?connect_timeout=3"
