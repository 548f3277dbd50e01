"""Fixed-point numbers are rounded as hardware does, know who shares their memory, and tell what became of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.trainers.fixed_point.test_operations import number
from trainers.fixed_point.values import Fixed, Image, NoIntegerForm, Tape, given, requantized, to_float


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
        for read in (
            functional.relu,
            to_float,
            lambda x: requantized(x, 0, -8, 7),
            lambda x: x.flatten(),
            lambda x: given(x, "a"),
        ):
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
    assert tape.rows[1]["arguments"] == [3] and tape.rows[1]["keywords"]["padding"] == 1
    assert tape.rows[3]["shape"] == [4, 6, 6] and "keywords" not in tape.rows[3]


def test_a_tape_tells_apart_what_only_names_or_parts_tell_apart() -> None:
    x, tape = number(), Tape()
    tape.add("layer", [], x, layer="one")
    x.clamp(max=2)
    x.clamp(min=2)
    x.mean((2, 3), keepdim=True)
    for part in x.chunk(2, 1):
        part.relu()
    found = [(row["operation"], row["inputs"], row.get("arguments"), row.get("keywords")) for row in tape.rows[1:4]]
    assert found == [
        ("clamp", [0], None, {"max": 2}), ("clamp", [0], None, {"min": 2}), ("mean", [0], [[2, 3]], {"keepdim": True}),
    ]  # fmt: skip
    assert [(row["operation"], row.get("part")) for row in tape.rows[4:6]] == [("chunk", 0), ("chunk", 1)]
    assert [row["inputs"] for row in tape.rows[6:]] == [[4], [5]]


def test_an_image_is_one_while_it_is_only_moved() -> None:
    tape = Tape()
    image = Image.of(torch.rand(2, 3, 4, 4), tape)
    flat = image.transpose(1, 2).flatten(1)
    assert given(flat, "a") is flat and given(image.float().contiguous(), "a").id >= 0
    assert [(row["operation"], row["inputs"]) for row in tape.rows[:3]] == [
        ("image", []), ("transpose", [0]), ("flatten", [1]),
    ]  # fmt: skip
    for changed in (image * 2, functional.avg_pool2d(image, 2), image.half(), image.to(torch.half), torch.relu(flat)):
        with pytest.raises(NoIntegerForm, match="a reads what is neither the image nor made by a layer"):
            given(changed, "a")


def _written(x: Tensor) -> None:
    x[:, 0] = 1.0


@pytest.mark.parametrize("change", [_written, lambda x: x.mul_(2), lambda x: functional.relu(x, inplace=True)])
def test_an_image_is_not_changed_in_place(change: Callable[[Tensor], object]) -> None:
    with pytest.raises(NoIntegerForm, match="in place, of the image"):
        change(Image.of(torch.rand(2, 3, 4, 4)))
