"""Fixed-point numbers are rounded as hardware does, know who shares their memory, and tell what became of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.trainers.fixed_point.test_operations import number
from trainers.fixed_point.values import Fixed, NoIntegerForm, Tape, requantized, to_float


def test_halves_are_rounded_up_and_the_ends_hold() -> None:
    x = Fixed.of(torch.tensor([-6, -5, -3, -2, -1, 1, 2, 3, 1000]), 1)
    assert requantized(x, 0, -2, 7).tolist() == [-2, -2, -1, -1, 0, 1, 1, 2, 7]


def test_what_lies_far_behind_the_point_is_zero() -> None:
    assert requantized(number(fraction=90), 0, -8, 7).abs().max() == 0


def test_thirds_are_divided_once_where_they_are_rounded() -> None:
    x = Fixed.of(torch.tensor([[1, 1, 2]]), 0).mean(1)
    assert (x.divisor, x.tolist()) == (3, [4])
    assert requantized(x, 0, -8, 7).tolist() == [1]
    assert requantized(x, 2, -8, 7).tolist() == [5]  # 5.33


def test_changing_in_place_is_seen_by_all_who_hold_the_number() -> None:
    x = number()
    other = x
    functional.leaky_relu(x, 0.25, inplace=True)
    assert other.fraction == 3 + 8 and torch.equal(to_float(other), functional.leaky_relu(to_float(number()), 0.25))


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "view": lambda x: x.view(2, -1),
    "part": lambda x: x[:, 1],
    "transposed": lambda x: x.mT,
    "detached": lambda x: x.detach(),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_a_view_of_what_was_changed_in_place_is_not_read(view: Callable[[Tensor], Tensor]) -> None:
    for changed in (0, 1):
        x = number()
        pair = x, view(x)
        functional.leaky_relu(pair[changed], 0.25, inplace=True)
        for read in (functional.relu, to_float, lambda x: requantized(x, 0, -8, 7), lambda x: x.flatten()):
            with pytest.raises(NoIntegerForm, match="changed in place by way of another view"):
                read(pair[1 - changed])


def test_parts_without_a_place_in_common_are_changed_each_for_itself() -> None:
    left, right = number().chunk(2, 1)
    functional.leaky_relu(left, 0.25, inplace=True)
    wanted = to_float(number())
    assert torch.equal(to_float(left), functional.leaky_relu(wanted[:, :2], 0.25))
    assert torch.equal(to_float(right), wanted[:, 2:])


def test_a_tape_tells_who_read_whom() -> None:
    x, tape = number(), Tape()
    tape.add("layer", [], x, layer="one")
    functional.relu(x + functional.max_pool2d(x, 3, 1, 1))
    assert [(row["operation"], row["inputs"]) for row in tape.rows] == [
        ("layer", []), ("max_pool2d", [0]), ("add", [0, 1]), ("relu", [2]),
    ]  # fmt: skip
    assert tape.rows[1]["arguments"][:3] == [3, 1, 1] and tape.rows[3]["shape"] == [4, 6, 6]
