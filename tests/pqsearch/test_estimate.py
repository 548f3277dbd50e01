"""How long a run will take, from one of everything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch

from pqsearch.estimate import estimate, time_table
from pqsearch.prepare import prepare
from pqsearch.spec import parse_spec
from pqsearch.study_state import expected_repeats
from tests.conftest import small_spec
from trainers import proxy


def _estimated(**sections: Any) -> dict[str, float]:
    return estimate(prepare(parse_spec({**small_spec(), **sections})))


@pytest.mark.parametrize("source", ["none", "gradients", "table"])
def test_a_search_takes_its_evaluations_and_what_is_found_out_before_them(source: str) -> None:
    spec = parse_spec(small_spec())
    found = _estimated(sensitivity={"source": source})
    evaluations = spec.study.evaluations + expected_repeats(spec.study.model_dump())
    plans = found["one evaluation"] * evaluations / spec.workers.count
    assert found["search"] == pytest.approx(plans + found["sensitivity"])
    assert (found["sensitivity"] > 0) == (source != "none")
    assert all(seconds > 0 for stage, seconds in found.items() if stage != "sensitivity")
    assert f"sensitivity: {found['sensitivity']:.1f} s" in time_table(found)


def test_of_many_images_two_batches_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[list[int]] = []
    whole = proxy.expected_losses

    def watched(model: Any, traced: Any, scores: Any, batches: Iterable[torch.Tensor], *args: Any, **more: Any) -> Any:
        batches = list(batches)
        looked.append([len(batch) for batch in batches])
        return whole(model, traced, scores, batches, *args, **more)

    monkeypatch.setattr(proxy, "expected_losses", watched)
    monkeypatch.setattr(proxy, "evaluation_batch", lambda shape, device: 32)
    _estimated(sensitivity={"images": 100})
    assert looked == [[16], [16, 16]]


def test_trainings_are_calibrated_selected_and_tested_however_short_they_are() -> None:
    spec = small_spec()
    seconds = _estimated(**{section: {**spec[section], "epochs": 0} for section in ("baseline", "finetune")})
    assert 0 < seconds["baseline"] < seconds["finetune"]


def test_trainings_that_take_all_processes_come_one_after_the_other() -> None:
    shared = {**small_spec()["finetune"], "epochs": 0, "workers": 2}
    seconds = _estimated(finetune=shared, study={**small_spec()["study"], "hours": 1e-9})
    # Worker seconds are those of both processes.
    assert seconds["workers"] == pytest.approx(2 * seconds["finetune"], rel=1e-3)


def test_hours_are_never_exceeded() -> None:
    study = {**small_spec()["study"], "hours": 1e-6}
    assert _estimated(study=study)["search"] == pytest.approx(0.0036)
