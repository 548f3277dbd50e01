from __future__ import annotations

import os
from typing import Any

import pytest

from pqsearch.errors import UserError
from pqsearch.prepare import load_data, prepare
from pqsearch.process_problems import FEWEST_IMAGES, process_problems
from pqsearch.spec import parse_spec
from tests.conftest import small_spec
from tests.pqsearch.wrong_specs import smallest_values


def _problems(gpus: Any = 0, **section: Any) -> list[str]:
    return list(process_problems("finetune", section, gpus, 128))


@pytest.mark.parametrize(
    ("batch", "processes", "way_out"),
    [(None, 3, "set it to 126 or 129"), (4, 4, "set it to 8"), (9, 4, "set it to 8 or 12"), (5, 3, "set it to 6")],
)
def test_a_batch_that_cannot_be_shared_evenly_is_refused_with_ones_that_can(
    batch: int | None, processes: int, way_out: str
) -> None:
    given = {} if batch is None else {"batch_size": batch}
    (line,) = _problems(workers=processes, **given)
    assert line == (
        f"finetune.batch_size: is shared by finetune.workers, which is {processes}: must be a multiple of it and at least 2 images "
        f"each, got {batch or 128}; {way_out}"
    )


def test_processes_do_not_share_a_gpu() -> None:
    (line,) = _problems(0.5, workers=2)
    assert line.startswith("workers.gpus: ") and "finetune.workers is 2, got 0.5; give whole GPUs" in line
    assert _problems(1, workers=2) == _problems(2.0, workers=2, sync_batch_norm=True) == []


def test_batch_norm_over_all_processes_is_refused_without_gpus_and_nothing_to_one_process() -> None:
    (line,) = _problems(workers=2, sync_batch_norm=True)
    assert line.startswith("finetune.sync_batch_norm: torch has it on GPUs only, workers.gpus is 0, got true;")
    assert _problems(workers=1, sync_batch_norm=True) == []


@pytest.mark.parametrize("wrong", [{"workers": "two"}, {"workers": True}, {"workers": 2, "batch_size": "all"}, {}])
def test_what_is_of_a_wrong_type_is_said_elsewhere(wrong: dict[str, Any]) -> None:
    assert _problems("one", **wrong) == []


def test_all_of_it_comes_with_the_other_mistakes_of_a_spec() -> None:
    sections = {"baseline__workers": 3, "finetune__workers": 2, "finetune__sync_batch_norm": True, "workers__cpus": -1}
    with pytest.raises(UserError) as found:
        parse_spec(smallest_values(**sections))
    keys = [problem.partition(":")[0] for problem in found.value.problems]
    assert sorted(keys) == ["baseline.batch_size", "finetune.sync_batch_norm", "workers.cpus"]


def test_more_processes_than_cores_are_refused_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    cores = os.cpu_count() or 1
    many = 2 * cores
    spec = parse_spec(small_spec(finetune__workers=many, finetune__batch_size=2 * many))
    with pytest.raises(UserError) as found:
        prepare(spec)
    assert found.value.problems == (
        f"finetune.workers: {many} processes of 1 cpus need {many} cores, this machine has {cores}; lower finetune.workers or "
        "workers.cpus",
    )


def test_more_processes_than_images_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")  # where room is asked for later
    images = len(load_data(parse_spec(smallest_values(data__score_images=900, data__select_images=280)))[1].train)
    many = images // FEWEST_IMAGES + 1
    changes = {"data__score_images": 900, "data__select_images": 280, "baseline__workers": many}
    with pytest.raises(
        UserError, match=rf"^baseline\.workers: {many} processes need 2 training images each, .* {images};"
    ):
        prepare(parse_spec(smallest_values(baseline__batch_size=2 * many, **changes)))


def test_processes_that_never_train_are_not_asked_about() -> None:
    many = 64 * (os.cpu_count() or 1)
    spec = parse_spec(small_spec(finetune__workers=many, finetune__batch_size=2 * many, finetune__epochs=0))
    assert prepare(spec).spec is spec
