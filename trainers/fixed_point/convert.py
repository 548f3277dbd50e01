"""From a trained network, float or quantised in any way, to one that computes in dynamic fixed point (Gysel et al., Ristretto, 2018).

Batch norm goes into the layers beside it. Weights, inputs, biases and sums of every layer get a grid whose step is a power of two; slopes
of leaky ReLUs become multiples of 2^-8. What comes out is a module like any other, for float32 or float64, whose values are all on
their grids; `trainers.fixed_point.integer` computes the same in integers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from pqsearch.errors import UserError
from pqsearch.plan import FLOAT_BITS, LayerPlan
from pqsearch.spec_network import FixedPointSpec
from trainers.coupling import LAYERS
from trainers.equalizing import ClippedReLU, equalize
from trainers.fixed_point.layers import FixedLayer, fix, fixed_layers, grids, set_bias_grid
from trainers.fixed_point.operations import CEILING_BITS, SLOPE_BITS
from trainers.fixed_point.values import NoIntegerForm
from trainers.merging import PLAIN_NORMS, line, merge_batch_norm, replace
from trainers.passing import AllUses, hooked_pass
from trainers.quantized import masked, quantized_layers
from trainers.quantizers.ristretto import Quantizer

#: By the task's loss these steps are tried around the one of least squared error.
TRIED = (1.0, 2.0, 0.5)


def fixed_point(
    model: nn.Module,
    input_shape: tuple[int, ...],
    settings: FixedPointSpec,
    bits: Mapping[str, LayerPlan] | None = None,
) -> nn.Module:
    """A fixed-point copy of `model` in evaluation, for images of `input_shape` (channels, height, width); it rounds nothing until it is
    calibrated or has a state dict loaded. Weights that a mask of `model` has at zero stay there.

    `bits` are a plan's, by layer; they count where `settings` say so. Raises `UserError` about `fixed_point` for bits that there are
    not, and `NoIntegerForm` for batch norm that cannot be merged.
    """
    network = as_float(model)
    masks = {name: layer.weight_mask for name, layer in quantized_layers(model)}
    if settings.merge_batch_norm:
        network = merged(network, input_shape, settings.equalize)
    network.eval().requires_grad_(False)
    for name, part in list(network.named_modules()):
        if isinstance(part, LAYERS):
            own = _bits(name, settings, bits or {})
            fixed = fix(network, name, own, settings.bias_bits, settings.output_bits, settings.saturate)
            # Merging and equalising leave zeros where they are; training would not.
            mask = masks.get(name)
            fixed.weight_mask = None if mask is None else mask.clone()
    round_constants(network)
    return network


def merged(model: nn.Module, input_shape: tuple[int, ...], equalized: bool) -> nn.Module:
    """A copy of a float network without batch norm: in the layers beside it, or else a layer of its own, 1x1, each channel by itself.

    Raises `NoIntegerForm` for a norm that can be neither.
    """
    found = merge_batch_norm(model, input_shape)
    network = equalize(found.model, input_shape)[0] if equalized else found.model
    for name, reason in found.left.items():
        norm = network.get_submodule(name)
        plain = type(norm).forward in PLAIN_NORMS
        if not plain or not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
            raise NoIntegerForm(f"the batch norm {name} {reason}")
        scale, shift = line(norm)
        layer = nn.Conv2d(len(scale), len(scale), 1, groups=len(scale))
        layer.weight.data.copy_(scale.view(-1, 1, 1, 1))
        cast("nn.Parameter", layer.bias).data.copy_(shift)
        replace(network, norm, layer.to(norm.running_mean))
    return network


def round_constants(network: nn.Module) -> None:
    """Slopes of leaky ReLUs become multiples of 2^-8, ceilings of channels of 2^-16, in place."""
    for part in network.modules():
        if isinstance(part, nn.LeakyReLU):
            part.negative_slope = round(part.negative_slope * 2**SLOPE_BITS) / 2**SLOPE_BITS
        elif isinstance(part, ClippedReLU):
            part.ceiling.copy_((part.ceiling.double() * 2**CEILING_BITS).round() / 2**CEILING_BITS)


@torch.no_grad()
def calibrate(
    network: nn.Module,
    images: Tensor,
    loss: Callable[[nn.Module], float] | None = None,
    correct_bias: bool = False,
) -> None:
    """Set all grids of a network that has none yet from normalised `images` (batch, channels, height, width), layer after layer, each
    seeing what the layers before it give on their grids; then, with a `loss` of the network, try twice and half of each step (half
    only where grids may clip) and keep what makes it smaller. `correct_bias` takes from each bias what rounding adds to a channel's
    mean (Nagel et al., Data-Free Quantization, ICCV 2019, section 4.2, on images).

    Raises `FloatingPointError` for values that are not finite.
    """
    _set_grids(network, images, _means(network, images) if correct_bias else {})
    if loss is not None:
        for layer in fixed_layers(network).values():
            act, weight = grids(layer)
            for grid in (act, weight, layer.output_quantizer):
                if grid is not None and grid.ready:
                    _try_steps(layer, grid, lambda: loss(network))


def as_float(model: nn.Module) -> nn.Module:
    """A copy whose quantised layers are plain ones again, with the weights that their grids give."""
    found = copy.deepcopy(model)
    for _, part in list(quantized_layers(found)):
        layer = cast("Any", part)
        with torch.no_grad():
            weight = masked(layer, layer.weight)
            if layer.weight_quantizer is not None:
                weight = masked(layer, layer.weight_quantizer(weight))
            layer.weight.copy_(weight)
        del layer.weight_quantizer, layer.act_quantizer, layer.weight_mask
        layer.__class__ = nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.Linear
    return found


def _bits(name: str, settings: FixedPointSpec, bits: Mapping[str, LayerPlan]) -> LayerPlan:
    """Of a layer: the plan's where they are asked for and there."""
    own = {"weight_bits": settings.weight_bits, "act_bits": settings.act_bits}
    if settings.plan_bits and name in bits:
        planned = {"weight_bits": bits[name].weight_bits, "act_bits": bits[name].act_bits}
        own |= {key: number for key, number in planned.items() if number != FLOAT_BITS}
    for key, number in own.items():
        if number < 2:
            raise UserError(
                f"fixed_point.plan_bits: {key} of the layer {name} are {number} in the plan, a step that is a power of two has 2 to 16; "
                "take false, and bits for all layers"
            )
    return LayerPlan(**own)


def _means(network: nn.Module, images: Tensor) -> dict[int, Tensor]:
    """Of each layer's channels at its first use, by the layer's id, while nothing is rounded yet."""
    found: dict[int, Tensor] = {}

    def note(layer: FixedLayer, inputs: tuple[Tensor, ...], sums: Tensor) -> None:
        found.setdefault(id(layer), _mean(layer, sums))

    handles = [layer.register_forward_hook(note) for layer in fixed_layers(network).values()]
    hooked_pass(network, images, handles)
    return found


def _mean(layer: FixedLayer, sums: Tensor) -> Tensor:
    """Of each output channel (channels,)."""
    dim = 1 if isinstance(layer, nn.Conv2d) else -1
    return sums.movedim(dim, 0).flatten(1).mean(1)


def _set_grids(network: nn.Module, images: Tensor, means: Mapping[int, Tensor]) -> None:
    layers = fixed_layers(network)
    uses = AllUses(layers, lambda: hooked_pass(network, images[:1], []))
    seen: set[int] = set()
    handles = []

    def before(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        layer.act_quantizer.calibrate(uses.of(layer, "inputs", inputs[0]))
        set_bias_grid(layer)

    def after(layer: Any, inputs: tuple[Tensor, ...], sums: Tensor) -> Tensor:
        first = id(layer) not in seen
        seen.add(id(layer))
        if first and id(layer) in means and layer.bias is not None:
            added = _mean(layer, sums) - means[id(layer)]
            layer.bias.sub_(added)
            set_bias_grid(layer)
            sums = sums - (added.view(-1, 1, 1) if isinstance(layer, nn.Conv2d) else added)
        if layer.output_quantizer is None:
            return sums
        layer.output_quantizer.calibrate(uses.of(layer, "sums", sums))
        return cast("Tensor", layer.output_quantizer(sums))

    for layer in layers.values():
        _, grid = grids(layer)
        grid.calibrate(masked(layer, layer.weight))
        handles += [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]
    hooked_pass(network, images, handles)


def _try_steps(layer: FixedLayer, grid: Quantizer, loss: Callable[[], float]) -> None:
    def put(step: Tensor) -> None:
        grid.step.copy_(step)
        set_bias_grid(layer)

    start = grid.step.clone()
    # Half of a step that only just covers would clip.
    tried = [factor for factor in TRIED if factor >= 1 or grid.saturate]
    found = []
    for factor in tried:
        put(start * factor)
        found.append(loss())
    put(start * tried[found.index(min(found))])
