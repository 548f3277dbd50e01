"""Operations compute with fixed-point numbers what float64 does, exactly, or say that they cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.fixed_point.values import Fixed, NoIntegerForm, requantized, to_float
from trainers.quantizers.ristretto import half_up

Operation = Callable[[Any], Any]


def number(shape: tuple[int, ...] = (2, 4, 6, 6), fraction: int = 3, seed: int = 0) -> Fixed:
    generator = torch.Generator().manual_seed(seed)
    return Fixed.of(torch.randint(-100, 100, shape, generator=generator), fraction)


def joined(x: Tensor) -> Tensor:
    return torch.cat([x, functional.avg_pool2d(x, 3, 1, 1)], 1)


EXACT: dict[str, Operation] = {
    "relu": functional.relu,
    "method": lambda x: x.relu(),
    "relu6": functional.relu6,
    "clamp": lambda x: x.clamp(-2.5, 4),
    "clamp between the grid's values": lambda x: x.clamp(max=2.0**-16),
    "clamp behind an average": lambda x: functional.avg_pool2d(x, 3).clamp(0.25, 2.0**-5),
    "relu6 in place": lambda x: functional.relu6(x + x, inplace=True),
    "ceilings": lambda x: torch.minimum(x, torch.tensor([0.25, 6.0, 3 * 2.0**-16, 100.0]).view(-1, 1, 1)),
    "module": nn.Sequential(nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1), nn.Flatten()),
    "leaky": lambda x: functional.leaky_relu(x, 26 / 256),
    "added": lambda x: x + functional.leaky_relu(x, 0.25),
    "in place": lambda x: torch.add(x, x).relu_(),
    "sum": lambda x: sum([x, x.relu()]),
    "nothing added": lambda x: torch.add(x, 0.0) + x,
    "joined": joined,
    "joined along an axis": lambda x: torch.cat([x, x], axis=1),
    "maximum": lambda x: functional.max_pool2d(x, 2, ceil_mode=True),
    "maxima": lambda x: functional.adaptive_max_pool2d(x, 2),
    "mean": lambda x: x.mean((2, 3)),
    "means": lambda x: functional.adaptive_avg_pool2d(x, 3),
    "one mean": lambda x: functional.adaptive_avg_pool2d(x, 1).flatten(1),
    "windows": lambda x: functional.avg_pool2d(x, 3, 2),
    "halves": lambda x: functional.avg_pool2d(x, 2),
    "padded": lambda x: functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1)),
    "padded by a value": lambda x: functional.pad(x, (1, 1), value=0.25),
    "padded by a finer value": lambda x: functional.pad(x, (1, 1), value=-(2.0**-7)),
    "padded by a copy": lambda x: functional.pad(x, (1, 1, 1, 1), mode="circular"),
    "reflected": lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"),
    "shuffled": lambda x: x.view(2, 2, 2, 6, 6).transpose(1, 2).reshape(2, 4, 6, 6),
    "split": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "dropout": lambda x: functional.dropout(x, 0.5, training=False),
    "shape": lambda x: x.view(x.size(0), -1) + x.reshape(x.shape[0], -1),
}


@pytest.mark.parametrize("operation", EXACT.values(), ids=EXACT.keys())
def test_an_operation_gives_what_float_does(operation: Operation) -> None:
    x = number()
    wanted = operation(to_float(x))
    found = operation(x)
    assert isinstance(found, Fixed)
    assert torch.equal(to_float(found), wanted)
    for fraction in (-3, 0, 2, 9):
        grid = half_up(wanted * 2.0**fraction, -128, 127).long()
        assert torch.equal(requantized(found, fraction, -128, 127), grid)


def _written(x: Tensor) -> Tensor:
    x[:, 0] = 1.0
    return x


REFUSED: dict[str, tuple[Operation, str]] = {
    "sigmoid": (torch.sigmoid, "sigmoid has no integer form"),
    "hardswish": (functional.hardswish, "hardswish has no integer form"),
    "product": (lambda x: x * x, "mul has no integer form"),
    "softmax": (lambda x: x.softmax(1), "softmax has no integer form"),
    "slope": (lambda x: functional.leaky_relu(x, 0.1), r"a slope of 0.1, which is no multiple of 2\^-8"),
    "end": (lambda x: x.clamp(0, 0.3), r"0.3, which is no multiple of 2\^-16"),
    "ceiling": (lambda x: torch.minimum(x, torch.tensor(0.1)), r"a ceiling that is no multiple of 2\^-16"),
    "pad": (lambda x: functional.pad(x, (1, 1), value=0.3), r"0.3, which is no multiple of 2\^-16"),
    "as float": (lambda x: x.to(torch.float32), "to to torch.float32 has no integer form"),
    "smaller": (lambda x: torch.minimum(x, x), "the smaller of two outputs"),
    "written": (_written, "setitem has no integer form"),
    "an argument": (lambda x: x.mean(1, dtype=torch.double), "mean with these arguments has no integer form"),
    "without end": (lambda x: x.clamp(0, float("inf")), "clamp with these arguments has no integer form"),
    "float": (lambda x: x + 1.0, "adding something that is not the output of a layer"),
    "average added": (lambda x: functional.avg_pool2d(x, 3, 1, 1) + x, "adding behind an average over 9 places"),
    "edge": (lambda x: functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False), "smaller at the edge"),
    "uneven": (lambda x: functional.adaptive_avg_pool2d(x, 4), "windows of unequal sizes"),
    "wide": (lambda x: _often(x), "integers of .* bits"),
}


def _often(x: Tensor) -> Tensor:
    for _ in range(9):
        x = functional.leaky_relu(x, 0.5)
    return x


@pytest.mark.parametrize(("operation", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_has_no_exact_form_is_refused_by_name(operation: Operation, words: str) -> None:
    with pytest.raises(NoIntegerForm, match=words):
        operation(number())


def test_a_bound_is_exact_on_a_grid_that_is_coarser_than_it() -> None:
    x = Fixed.of(torch.tensor([-3, 0, 1, 3]), -2)
    assert to_float(functional.relu6(x)).tolist() == [0, 0, 4, 6]
    assert to_float(x.clamp(-8, 8)).tolist() == [-8, 0, 4, 8]
    assert x.clamp(-8, 8).fraction == -2, "no finer than it must be"
