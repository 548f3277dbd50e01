"""Fixed-point numbers that go through a network's own forward pass: integers that know where their point is.

A value is integer / (divisor x 2^fraction). The divisor is 1 but behind an average over a number of places that is no power of two:
there the sum is kept, and divided once, where it is rounded to the next layer's grid. Everything is exact; what has no exact form is
refused by name. `trainers.fixed_point.operations` says what operations do with them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trainers.quantizers.ristretto import half_up

#: Integers stay below 2 to the power of this: int64 has room, and float64 can follow.
MOST_BITS = 52


class NoIntegerForm(ValueError):
    """An operation that integers cannot do exactly, or not in the bits there are; says which and why."""


class Tape:
    """Operations in the order in which they were computed, for files."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, operation: str, inputs: Sequence[int], result: Fixed | Image, **more: Any) -> None:
        result.tape, result.id = self, len(self.rows)
        self.rows.append(
            {
                "id": result.id,
                "operation": operation,
                "inputs": list(inputs),
                **more,
                "shape": list(result.shape[1:]),
                **(
                    {"fraction_length": result.fraction, "divisor": result.divisor} if isinstance(result, Fixed) else {}
                ),
            }
        )


class _Told(Tensor):
    """A tensor that knows the operation that it is from."""

    tape: Tape | None
    id: int

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # Operations make numbers, and numbers call operations.
        from trainers.fixed_point.operations import applied

        with torch._C.DisableTorchFunctionSubclass():
            return applied(func, args, kwargs or {})


class Image(_Told):
    """The network's input, in float, and what only moves its values; whatever else is made of it is a tensor like any other."""

    @classmethod
    def of(cls, images: Tensor, tape: Tape | None = None) -> Image:
        """`images`, and the first row of a tape."""
        made = images.as_subclass(cls)
        made.tape, made.id = None, -1
        if tape is not None:
            tape.add("image", [], made)
        return made


class Fixed(_Told):
    """Integers (int64) with a fraction length, a divisor, and the operation that they are from."""

    fraction: int
    divisor: int
    #: All numbers that share its memory, itself among them, and whether one of them was changed in place behind its back.
    views: list[weakref.ref[Fixed]]
    stale: bool

    @classmethod
    def of(cls, integers: Tensor, fraction: int, divisor: int = 1) -> Fixed:
        """Raises `NoIntegerForm` for integers that are too large."""
        check_bits(integers, 0)
        # Dividing by a power of two only moves the point.
        while divisor % 2 == 0:
            divisor, fraction = divisor // 2, fraction + 1
        made = integers.as_subclass(cls)
        made.fraction, made.divisor, made.tape, made.id = fraction, divisor, None, -1
        made.views, made.stale = [weakref.ref(made)], False
        return made


def given(x: Tensor, layer: str) -> Fixed | Image:
    """What a layer reads. Raises `NoIntegerForm` where nobody knows what was done to it, or it must not be read."""
    if not isinstance(x, (Fixed, Image)):
        raise NoIntegerForm(f"{layer} reads what is neither the image nor made by a layer")
    if isinstance(x, Fixed):
        plain(x)
    return x


def requantized(x: Tensor, fraction: int, low: int, high: int) -> Tensor:
    """Integers (int64) on the grid of 2^-fraction: images in float, or numbers on another grid; halves are rounded up."""
    if not isinstance(x, Fixed):
        return half_up(x.double() * 2.0**fraction, low, high).long()
    with torch._C.DisableTorchFunctionSubclass():
        shift = fraction - x.fraction
        if x.divisor == 1 and shift <= 0:
            if -shift > MOST_BITS:  # all of it is behind the point
                return torch.zeros_like(plain(x))
            half = (1 << -shift) >> 1
            return ((plain(x) + half) >> -shift).clamp(low, high)
        above = shifted(plain(x), max(shift, 0) + 1)
        below = x.divisor << max(-shift, 0)
        return torch.div(above + below, 2 * below, rounding_mode="floor").clamp(low, high)


def to_float(x: Tensor) -> Tensor:
    """The values, in float64."""
    if not isinstance(x, Fixed):
        return x
    with torch._C.DisableTorchFunctionSubclass():
        return plain(x).double() / x.divisor * 2.0**-x.fraction


def plain(x: Fixed) -> Tensor:
    """The integers alone. Raises `NoIntegerForm` where they were changed under another name, on a grid that may be another."""
    if x.stale:
        raise NoIntegerForm("reading a number that was changed in place by way of another view of it")
    return x.as_subclass(Tensor)


def become(x: Fixed, found: Fixed) -> None:
    """An operation in place: whoever else holds the number sees it changed, and who holds another view of it may not read that."""
    for other in [one for view in x.views if (one := view()) is not None and one is not x]:
        other.stale = other.stale or _overlap(x, other)
    plain(x).copy_(plain(found))
    x.fraction, x.divisor, x.tape, x.id = found.fraction, found.divisor, found.tape, found.id


def _overlap(x: Fixed, other: Fixed) -> bool:
    """Whether two views of a memory have a place in common."""
    places = torch.zeros(x.untyped_storage().nbytes() // x.element_size(), dtype=torch.bool)
    places.as_strided(x.shape, x.stride(), x.storage_offset()).fill_(True)
    return bool(places.as_strided(other.shape, other.stride(), other.storage_offset()).any())


def check_bits(integers: Tensor, more: int) -> None:
    """Raises `NoIntegerForm` for integers that are too large once they are shifted left by `more`."""
    needed = int(integers.abs().max()).bit_length() + more if integers.numel() else 0
    if needed > MOST_BITS:
        raise NoIntegerForm(f"integers of {needed + 1} bits, of {MOST_BITS + 1} that there are")


def shifted(integers: Tensor, by: int) -> Tensor:
    check_bits(integers, by)
    return integers << by
