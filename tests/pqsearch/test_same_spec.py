"""What two specs of one run may differ in."""

from __future__ import annotations

from pqsearch.same_spec import differences
from pqsearch.spec import parse_spec
from tests.conftest import small_spec


def test_what_was_measured_by_is_told_with_both_values_and_how_long_and_where_is_not() -> None:
    before = parse_spec(small_spec())
    free = parse_spec(
        small_spec(
            study__evaluations=99,
            study__run_dir="s3://runs/small",
            workers__count=1,
            finetune__workers=2,
            baseline__workers=4,
        )
    )
    assert list(differences(before, free)) == []
    other = parse_spec(small_spec(study__seed=7, rungs=[{"kind": "calibrate", "images": 64}]))
    found = {key: (had, has) for key, had, has in differences(before, other)}
    assert found["study.seed"] == ("0", "7")
    assert found["rungs[1].steps"] == ("8", "nothing")
