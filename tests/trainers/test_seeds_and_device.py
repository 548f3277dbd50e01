from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from pqsearch.errors import UserError
from trainers.device import (
    CONTEXT_BYTES,
    evaluation_batch,
    fingerprint,
    limit_memory,
    memory_fraction,
    mixed_precision,
    pick,
    set_threads,
)
from trainers.seeds import derive, numpy_generator, seeded, torch_generator


def test_a_seed_is_the_same_in_another_process_and_different_for_other_parts() -> None:
    code = "from trainers.seeds import derive; print(derive('plan', 1, 2))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert derive("plan", 1, 2) == int(other)
    seeds = {derive("plan", 1, 2), derive("plan", 2, 1), derive("plan", "1", 2), derive("plan", 12), derive("plan1", 2)}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_generators_repeat_themselves() -> None:
    assert torch.equal(torch.rand(3, generator=torch_generator(5)), torch.rand(3, generator=torch_generator(5)))
    assert numpy_generator(5).random() == numpy_generator(5).random()


def test_seeding_ends_with_its_block() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with seeded(9):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    assert not torch.equal(inside, expected)


def test_no_gpu_asked_for_is_the_cpu() -> None:
    assert pick(0) == torch.device("cpu")


def test_a_gpu_that_is_not_there_is_the_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"^workers\.gpus: "):
        pick(0.5)


@pytest.mark.parametrize(("gpus", "gigabytes"), [(0.5, 8), (0.25, 8), (0.25, 80), (0.1, 16)])
def test_as_many_workers_as_there_are_shares_fit_on_a_gpu_with_their_processes(gpus: float, gigabytes: int) -> None:
    total = gigabytes * 2**30
    one = memory_fraction(gpus, total) * total + CONTEXT_BYTES
    assert one / gpus == pytest.approx(total)


def test_a_worker_with_a_whole_gpu_or_several_is_not_limited() -> None:
    assert memory_fraction(1, 2**34) == memory_fraction(2, 2**34) == 1.0


def test_on_a_gpu_that_is_too_small_for_its_workers_half_a_share_is_left() -> None:
    assert memory_fraction(0.1, 2**31) == 0.05


def test_the_memory_of_a_cpu_is_not_limited() -> None:
    limit_memory(torch.device("cpu"), 0.25)


@pytest.mark.parametrize("native", [True, False])
def test_short_floats_are_used_on_processors_that_compute_in_them(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert mixed_precision(torch.device("cpu")) is (torch.bfloat16 if native else None)
    assert mixed_precision(torch.device("cuda")) is torch.float16


@pytest.mark.parametrize(("cpus", "threads"), [(0.5, 1), (1, 1), (2.7, 2)])
def test_threads_are_whole_cores_and_at_least_one(cpus: float, threads: int) -> None:
    before = torch.get_num_threads()
    try:
        set_threads(cpus)
        assert torch.get_num_threads() == threads == fingerprint()["threads"]
    finally:
        torch.set_num_threads(before)


def test_batches_for_evaluation_shrink_as_images_grow() -> None:
    sides, (cpu, cuda) = (8, 32, 224, 1024), map(torch.device, ("cpu", "cuda"))
    assert [evaluation_batch((3, side, side), cpu) for side in sides] == [512, 85, 8, 8]
    assert [evaluation_batch((3, side, side), cuda) for side in sides] == [512, 512, 13, 8]
