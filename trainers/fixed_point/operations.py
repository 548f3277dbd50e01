"""What operations of a forward pass do with fixed-point numbers: rules for those that compute, none for those that only move values,
and no for all others.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from trainers.fixed_point.values import Fixed, Image, NoIntegerForm, become, plain, shifted

#: Bits behind the point of a leaky ReLU's slope.
SLOPE_BITS = 8
#: And of the ceiling of a channel, those of small channels being small, and of other constants where the number has fewer.
CEILING_BITS = 16
#: Names that torch takes for arguments beside those of the rules.
ALIASES = {"input": "x", "self": "x", "axis": "dim", "keepdims": "keepdim"}


def applied(func: Callable[..., Any], args: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """The result of an operation of torch among whose arguments are fixed-point numbers or the image. Raises `NoIntegerForm` for one
    that numbers have not.
    """
    name = func.__name__.strip("_")
    rule = RULES.get(name)
    read = _read((args, named))
    numbers = [one for one in read if isinstance(one, Fixed)]
    for one in numbers:
        plain(one)  # refuses what must not be read
    first = (numbers or read)[0]
    if name == "dropout" or name.endswith("_dropout") or name in ("dropout1d", "dropout2d", "dropout3d"):
        return first
    if not isinstance(first, Fixed):
        return _of_image(name, (args, named), func(*args, **named), first)
    if rule is not None:
        named = {ALIASES.get(key, key): value for key, value in named.items()}
        try:
            found = rule(*args, **named)
        # Arguments that torch takes and the rule does not, and numbers without end.
        except (TypeError, OverflowError) as error:
            raise NoIntegerForm(f"{name} with these arguments has no integer form ({error})") from error
        _note(rule.__name__.strip("_"), (args, named), found)
        if named.get("inplace") or (func.__name__.endswith("_") and not func.__name__.endswith("__")):
            become(first, found)
            return first
        return found
    try:
        found = func(*args, **named)
    except RuntimeError as error:  # torch has it for floating point only
        raise NoIntegerForm(f"{name} has no integer form") from error
    if name in MOVES or name == "get":
        return _moved(name, (args, named), found, first)
    if found is None or _any_tensor(found):  # nothing: it wrote into the number
        raise NoIntegerForm(f"{name} has no integer form")
    return found


def _read(parts: Any) -> list[Fixed | Image]:
    """All fixed-point numbers and images among arguments."""
    if isinstance(parts, (Fixed, Image)):
        return [parts]
    if isinstance(parts, Mapping):
        parts = list(parts.values())
    return [one for part in parts for one in _read(part)] if isinstance(parts, (list, tuple)) else []


def _any_tensor(found: Any) -> bool:
    return isinstance(found, Tensor) or (isinstance(found, (tuple, list)) and any(map(_any_tensor, found)))


def _note(operation: str, arguments: Any, found: Fixed | Image, **more: Any) -> None:
    read = _read(arguments)
    tape = next((one.tape for one in read if one.tape is not None), None)
    if tape is not None:
        tape.add(operation, [one.id for one in read], found, **_options(*arguments), **more)


def _options(args: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an operation that are not what it reads, by place and by name."""
    placed = [_noted(one) for one in args if not _read(one)]
    # On a tape nothing is in place.
    words = {key: _noted(one) for key, one in named.items() if not _read(one) and key != "inplace"}
    return ({"arguments": placed} if placed else {}) | ({"keywords": words} if words else {})


def _noted(value: Any) -> Any:
    """As JSON has it: numbers, in a list those of a tensor, and words."""
    if isinstance(value, Tensor):
        return value.flatten().tolist()
    if isinstance(value, (list, tuple)):
        return [_noted(one) for one in value]
    return value if isinstance(value, (int, float, str, type(None))) else str(value)


def _moved(name: str, arguments: Any, found: Any, first: Fixed, **part: int) -> Any:
    """What an operation gives that only moves values; `part` counts where it gives several."""
    if isinstance(found, (tuple, list)):
        return type(found)(_moved(name, arguments, one, first, part=number) for number, one in enumerate(found))
    if not isinstance(found, Tensor):
        return found
    if found.dtype != torch.long:
        raise NoIntegerForm(f"{name} to {found.dtype} has no integer form")
    made = Fixed.of(found.as_subclass(Tensor), first.fraction, first.divisor)
    # `of` folds powers of two into the point; there are none left in a divisor that it has seen before.
    if made.untyped_storage().data_ptr() == first.untyped_storage().data_ptr():
        made.views = first.views
        made.views.append(weakref.ref(made))
    _note(name, arguments, made, **part)
    return made


def _of_image(name: str, arguments: Any, found: Any, image: Image) -> Any:
    """What an operation makes of the image: one still where it only moves values, else a tensor, which no layer reads."""
    if found is None or (found is image and name not in (*MOVES, "float", "double")):
        raise NoIntegerForm(f"{name} in place, of the image, has no integer form")
    if name not in MOVES or not isinstance(found, Tensor) or found.dtype != image.dtype:
        return found
    made = Image.of(found)
    _note(name, arguments, made)
    return made


def _like(x: Fixed, integers: Tensor) -> Fixed:
    return Fixed.of(integers, x.fraction, x.divisor)


def _undivided(x: Fixed, operation: str) -> None:
    if x.divisor != 1:
        raise NoIntegerForm(f"{operation} behind an average over {x.divisor} places: put a layer in between")


def _relu(x: Fixed, inplace: bool = False) -> Fixed:
    return _like(x, plain(x).clamp_min(0))


def _clamp(x: Fixed, min: float | None = None, max: float | None = None, inplace: bool = False) -> Fixed:
    x, ends = _with(x, [min, max])
    return _like(x, plain(x).clamp(*ends))


def _clamp_min(x: Fixed, min: float) -> Fixed:
    return _clamp(x, min)


def _with(x: Fixed, values: Sequence[float | None]) -> tuple[Fixed, list[int | None]]:
    """A number, shifted left to where its grid has the values, too, and these on that grid; None is none."""
    exact = [None if value is None else Fraction(value) * x.divisor for value in values]
    finest = max((_bits_behind(one) for one in exact if one), default=x.fraction)
    if finest > max(x.fraction, CEILING_BITS):
        said = " or ".join(f"{one:g}" for one in values if one)
        raise NoIntegerForm(f"{said}, which is no multiple of 2^-{CEILING_BITS}, has no integer form")
    fraction = max(x.fraction, finest)
    moved = Fixed.of(shifted(plain(x), fraction - x.fraction), fraction, x.divisor)
    return moved, [None if one is None else int(one * Fraction(2) ** fraction) for one in exact]


def _bits_behind(value: Fraction) -> int:
    """Fraction length of the coarsest grid that has a value, which is not zero."""
    return value.denominator.bit_length() - (value.numerator & -value.numerator).bit_length()


def _relu6(x: Fixed, inplace: bool = False) -> Fixed:
    return _clamp(x, 0.0, 6.0)


def _hardtanh(x: Fixed, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Fixed:
    return _clamp(x, min_val, max_val)


def _minimum(x: Fixed, other: Tensor) -> Fixed:
    if isinstance(other, (Fixed, Image)):
        raise NoIntegerForm("the smaller of two outputs")
    _undivided(x, "minimum")
    fraction = max(x.fraction, CEILING_BITS)
    ceilings = other.double() * 2.0**fraction
    if not torch.equal(ceilings, ceilings.round()):
        raise NoIntegerForm(f"a ceiling that is no multiple of 2^-{CEILING_BITS}")
    return Fixed.of(torch.minimum(shifted(plain(x), fraction - x.fraction), ceilings.long()), fraction)


def _leaky_relu(x: Fixed, negative_slope: float = 0.01, inplace: bool = False) -> Fixed:
    _undivided(x, "leaky_relu")
    slope = Fraction(negative_slope) * 2**SLOPE_BITS
    if slope.denominator != 1:
        raise NoIntegerForm(f"a slope of {negative_slope:g}, which is no multiple of 2^-{SLOPE_BITS}")
    integers = plain(x)
    found = torch.where(integers >= 0, shifted(integers, SLOPE_BITS), integers * int(slope))
    return Fixed.of(found, x.fraction + SLOPE_BITS)


def _add(x: Fixed, other: Any, alpha: int = 1) -> Fixed:
    if isinstance(other, (int, float)) and other == 0:  # where Python's sum begins
        return _like(x, plain(x).clone())
    if not isinstance(x, Fixed) or not isinstance(other, Fixed) or alpha != 1:
        raise NoIntegerForm("adding something that is not the output of a layer")
    for one in (x, other):
        _undivided(one, "adding")
    fraction = max(x.fraction, other.fraction)
    left, right = (shifted(plain(one), fraction - one.fraction) for one in (x, other))
    return Fixed.of(left + right, fraction)


def _cat(tensors: Sequence[Fixed], dim: int = 0) -> Fixed:
    if not all(isinstance(one, Fixed) for one in tensors):
        raise NoIntegerForm("joining with something that is not the output of a layer")
    fraction = max(one.fraction for one in tensors)
    divisor = math.lcm(*(one.divisor for one in tensors))
    parts = [shifted(plain(one), fraction - one.fraction) * (divisor // one.divisor) for one in tensors]
    return Fixed.of(torch.cat(parts, dim), fraction, divisor)


def _pad(x: Fixed, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Fixed:
    x, (filled,) = _with(x, [value])
    return _like(x, functional.pad(plain(x), pad, mode, filled))


def _max_pool2d(x: Fixed, *args: Any, **named: Any) -> Fixed:
    return _like(x, functional.max_pool2d(plain(x), *args, **named))


def _mean(x: Fixed, dim: Any = None, keepdim: bool = False) -> Fixed:
    _undivided(x, "mean")
    dims = list(range(x.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    number = math.prod(x.shape[one] for one in dims)
    return Fixed.of(plain(x).sum(dims, keepdim=keepdim), x.fraction, number)


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
    sums = functional.avg_pool2d(plain(x), window, stride or window, padding, ceil_mode, True, 1)
    return Fixed.of(sums, x.fraction, divisor_override or math.prod(window))


#: Operations that compute, by the name under which torch calls them.
RULES: dict[str, Callable[..., Fixed]] = {
    "relu": _relu,
    "relu6": _relu6,
    "hardtanh": _hardtanh,
    "clamp": _clamp,
    "clamp_min": _clamp_min,
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
