"""Fixed-point numbers that go through a network's own forward pass: integers that know where their point is.

A value is integer / (divisor x 2^fraction). The divisor is 1 but behind an average over a number of places that is no power of two:
there the sum is kept, and divided once, where it is rounded to the next layer's grid. Everything is exact; what has no exact form is
refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from trainers.quantizers.ristretto import half_up

#: Bits behind the point of a leaky ReLU's slope.
SLOPE_BITS = 8
#: And of the ceiling of a channel: those of small channels are small.
CEILING_BITS = 16
#: Integers stay below 2 to the power of this: int64 has room, and float64 can follow.
MOST_BITS = 52


class NoIntegerForm(ValueError):
    """An operation that integers cannot do exactly, or not in the bits there are; says which and why."""


class Tape:
    """Operations in the order in which they were computed, for files."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, operation: str, inputs: Sequence[int], result: Fixed, **more: Any) -> None:
        result.tape, result.id = self, len(self.rows)
        self.rows.append(
            {
                "id": result.id,
                "operation": operation,
                "inputs": list(inputs),
                **more,
                "shape": list(result.shape[1:]),
                "fraction_length": result.fraction,
                "divisor": result.divisor,
            }
        )


class Fixed(Tensor):
    """Integers (int64) with a fraction length, a divisor, and the operation that they are from."""

    fraction: int
    divisor: int
    tape: Tape | None
    id: int

    @classmethod
    def of(cls, integers: Tensor, fraction: int, divisor: int = 1) -> Fixed:
        """Raises `NoIntegerForm` for integers that are too large."""
        _check_bits(integers, 0)
        # Dividing by a power of two only moves the point.
        while divisor % 2 == 0:
            divisor, fraction = divisor // 2, fraction + 1
        made = integers.as_subclass(cls)
        made.fraction, made.divisor, made.tape, made.id = fraction, divisor, None, -1
        return made

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            name = func.__name__.strip("_")
            rule = RULES.get(name)
            first = next(one for one in _numbers((args, named)))
            if rule is not None:
                found = rule(*args, **named)
                _note(name, (args, named), found)
                if named.get("inplace") or (func.__name__.endswith("_") and not func.__name__.endswith("__")):
                    _become(first, found)
                    return first
                return found
            if name == "dropout" or name.endswith("_dropout") or name in ("dropout1d", "dropout2d", "dropout3d"):
                return first
            try:
                found = func(*args, **named)
            except RuntimeError as error:  # torch has it for floating point only
                raise NoIntegerForm(f"{name} has no integer form") from error
            if name in MOVES or name == "get":
                return _moved(name, (args, named), found, first)
            if _any_tensor(found):
                raise NoIntegerForm(f"{name} has no integer form")
            return found


def requantized(x: Tensor, fraction: int, low: int, high: int) -> Tensor:
    """Integers (int64) on the grid of 2^-fraction: images in float, or numbers on another grid; halves are rounded up."""
    if not isinstance(x, Fixed):
        return half_up(x.double() * 2.0**fraction, low, high).long()
    with torch._C.DisableTorchFunctionSubclass():
        shift = fraction - x.fraction
        if x.divisor == 1 and shift <= 0:
            if -shift > MOST_BITS:  # all of it is behind the point
                return torch.zeros_like(_plain(x))
            half = (1 << -shift) >> 1
            return ((_plain(x) + half) >> -shift).clamp(low, high)
        above = _shifted(_plain(x), max(shift, 0) + 1)
        below = x.divisor << max(-shift, 0)
        return torch.div(above + below, 2 * below, rounding_mode="floor").clamp(low, high)


def to_float(x: Tensor) -> Tensor:
    """The values, in float64."""
    if not isinstance(x, Fixed):
        return x
    with torch._C.DisableTorchFunctionSubclass():
        return _plain(x).double() / x.divisor * 2.0**-x.fraction


def _plain(x: Fixed) -> Tensor:
    return x.as_subclass(Tensor)


def _check_bits(integers: Tensor, more: int) -> None:
    needed = int(integers.abs().max()).bit_length() + more if integers.numel() else 0
    if needed > MOST_BITS:
        raise NoIntegerForm(f"integers of {needed + 1} bits, of {MOST_BITS + 1} that there are")


def _shifted(integers: Tensor, by: int) -> Tensor:
    _check_bits(integers, by)
    return integers << by


def _numbers(parts: Any) -> list[Fixed]:
    """All fixed-point numbers among arguments."""
    if isinstance(parts, Fixed):
        return [parts]
    if isinstance(parts, dict):
        parts = list(parts.values())
    return [one for part in parts for one in _numbers(part)] if isinstance(parts, (list, tuple)) else []


def _any_tensor(found: Any) -> bool:
    return isinstance(found, Tensor) or (isinstance(found, (tuple, list)) and any(map(_any_tensor, found)))


def _note(operation: str, arguments: Any, found: Fixed) -> None:
    inputs = _numbers(arguments)
    tape = next((one.tape for one in inputs if one.tape is not None), None)
    if tape is not None:
        options = _options(arguments)
        tape.add(operation, [one.id for one in inputs], found, **({"arguments": options} if options else {}))


def _options(arguments: Any) -> list[Any]:
    """Numbers, in a list those of a tensor, and words among the arguments of an operation."""
    args, named = arguments
    kept = [one for one in (*args, *named.values()) if not _numbers(one)]
    plain = [one.flatten().tolist() if isinstance(one, Tensor) else one for one in kept]
    return [one if isinstance(one, (int, float, str, bool, list, type(None))) else str(one) for one in plain]


def _moved(name: str, arguments: Any, found: Any, first: Fixed) -> Any:
    """What an operation gives that only moves values."""
    if isinstance(found, (tuple, list)):
        return type(found)(_moved(name, arguments, one, first) for one in found)
    if not isinstance(found, Tensor):
        return found
    if found.dtype != torch.long:
        raise NoIntegerForm(f"{name} to {found.dtype} has no integer form")
    made = Fixed.of(found.as_subclass(Tensor), first.fraction, first.divisor)
    # `of` folds powers of two into the point; there are none left in a divisor that it has seen before.
    _note(name, arguments, made)
    return made


def _become(x: Fixed, found: Fixed) -> None:
    """An operation in place: whoever else holds the number sees it changed."""
    _plain(x).copy_(_plain(found))
    x.fraction, x.divisor, x.tape, x.id = found.fraction, found.divisor, found.tape, found.id


def _like(x: Fixed, integers: Tensor) -> Fixed:
    return Fixed.of(integers, x.fraction, x.divisor)


def _undivided(x: Fixed, operation: str) -> None:
    if x.divisor != 1:
        raise NoIntegerForm(f"{operation} behind an average over {x.divisor} places: put a layer in between")


def _relu(x: Fixed, inplace: bool = False) -> Fixed:
    return _like(x, _plain(x).clamp_min(0))


def _clamp(x: Fixed, min: float | None = None, max: float | None = None, inplace: bool = False) -> Fixed:
    ends = [None if end is None else _on_grid(x, end) for end in (min, max)]
    return _like(x, _plain(x).clamp(*ends))


def _on_grid(x: Fixed, value: float) -> int:
    found = Fraction(value) * x.divisor * Fraction(2) ** x.fraction
    if found.denominator != 1:
        raise NoIntegerForm(f"{value:g}, which is between two values of a grid of 2^{-x.fraction}, has no integer form")
    return int(found)


def _relu6(x: Fixed, inplace: bool = False) -> Fixed:
    return _clamp(x, 0.0, 6.0)


def _hardtanh(x: Fixed, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Fixed:
    return _clamp(x, min_val, max_val)


def _minimum(x: Fixed, other: Tensor) -> Fixed:
    if isinstance(other, Fixed):
        raise NoIntegerForm("the smaller of two outputs")
    _undivided(x, "minimum")
    fraction = max(x.fraction, CEILING_BITS)
    ceilings = other.double() * 2.0**fraction
    if not torch.equal(ceilings, ceilings.round()):
        raise NoIntegerForm(f"a ceiling that is no multiple of 2^-{CEILING_BITS}")
    return Fixed.of(torch.minimum(_shifted(_plain(x), fraction - x.fraction), ceilings.long()), fraction)


def _leaky_relu(x: Fixed, negative_slope: float = 0.01, inplace: bool = False) -> Fixed:
    _undivided(x, "leaky_relu")
    slope = Fraction(negative_slope) * 2**SLOPE_BITS
    if slope.denominator != 1:
        raise NoIntegerForm(f"a slope of {negative_slope:g}, which is no multiple of 2^-{SLOPE_BITS}")
    integers = _plain(x)
    found = torch.where(integers >= 0, _shifted(integers, SLOPE_BITS), integers * int(slope))
    return Fixed.of(found, x.fraction + SLOPE_BITS)


def _add(x: Fixed, other: Any, alpha: int = 1) -> Fixed:
    if not isinstance(x, Fixed) or not isinstance(other, Fixed) or alpha != 1:
        raise NoIntegerForm("adding something that is not the output of a layer")
    for one in (x, other):
        _undivided(one, "adding")
    fraction = max(x.fraction, other.fraction)
    left, right = (_shifted(_plain(one), fraction - one.fraction) for one in (x, other))
    return Fixed.of(left + right, fraction)


def _cat(tensors: Sequence[Fixed], dim: int = 0) -> Fixed:
    if not all(isinstance(one, Fixed) for one in tensors):
        raise NoIntegerForm("joining with something that is not the output of a layer")
    fraction = max(one.fraction for one in tensors)
    divisor = math.lcm(*(one.divisor for one in tensors))
    parts = [_shifted(_plain(one), fraction - one.fraction) * (divisor // one.divisor) for one in tensors]
    return Fixed.of(torch.cat(parts, dim), fraction, divisor)


def _pad(x: Fixed, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Fixed:
    return _like(x, functional.pad(_plain(x), pad, mode, None if value is None else _on_grid(x, value)))


def _max_pool2d(x: Fixed, *args: Any, **named: Any) -> Fixed:
    return _like(x, functional.max_pool2d(_plain(x), *args, **named))


def _mean(x: Fixed, dim: Any = None, keepdim: bool = False) -> Fixed:
    _undivided(x, "mean")
    dims = list(range(x.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    number = math.prod(x.shape[one] for one in dims)
    return Fixed.of(_plain(x).sum(dims, keepdim=keepdim), x.fraction, number)


def _adaptive_avg_pool2d(x: Fixed, output_size: Any) -> Fixed:
    return _avg_pool2d(x, _window(x, output_size))


def _adaptive_max_pool2d(x: Fixed, output_size: Any, return_indices: bool = False) -> Fixed:
    return _max_pool2d(x, _window(x, output_size))


def _window(x: Fixed, output_size: Any) -> list[int]:
    """The window of an adaptive pooling, where all of its windows are alike."""
    wanted = [output_size] * 2 if isinstance(output_size, int) else list(output_size)
    wanted = [side if goal is None else goal for side, goal in zip(x.shape[-2:], wanted, strict=True)]
    if any(side % goal for side, goal in zip(x.shape[-2:], wanted, strict=True)):
        raise NoIntegerForm(f"pooling over windows of unequal sizes ({list(x.shape[-2:])} to {wanted})")
    return [side // goal for side, goal in zip(x.shape[-2:], wanted, strict=True)]


def _avg_pool2d(
    x: Fixed,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Fixed:
    _undivided(x, "avg_pool2d")
    padded = any(padding) if isinstance(padding, (tuple, list)) else bool(padding)
    if divisor_override is None and (ceil_mode or (padded and not count_include_pad)):
        raise NoIntegerForm("averages over windows that are smaller at the edge")
    window = [kernel_size] * 2 if isinstance(kernel_size, int) else list(kernel_size)
    sums = functional.avg_pool2d(_plain(x), window, stride or window, padding, ceil_mode, True, 1)
    return Fixed.of(sums, x.fraction, divisor_override or math.prod(window))


#: Operations that compute, by the name under which torch calls them.
RULES: dict[str, Callable[..., Fixed]] = {
    "relu": _relu,
    "relu6": _relu6,
    "hardtanh": _hardtanh,
    "clamp": _clamp,
    "clamp_min": lambda x, min: _clamp(x, min),
    "leaky_relu": _leaky_relu,
    "minimum": _minimum,
    "add": _add,
    "radd": _add,
    "iadd": _add,
    "cat": _cat,
    "concat": _cat,
    "pad": _pad,
    "max_pool2d": _max_pool2d,
    "adaptive_max_pool2d": _adaptive_max_pool2d,
    "mean": _mean,
    "adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "avg_pool2d": _avg_pool2d,
}
#: Operations that only move values.
MOVES = {
    "flatten", "view", "reshape", "permute", "transpose", "contiguous", "chunk", "split", "getitem", "squeeze", "unsqueeze",
    "unflatten", "clone", "detach", "narrow", "unbind", "expand", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "to",
}  # fmt: skip
