"""What each single change to a network is expected to cost in loss, from one backward pass: the cheap prior.

The divergence from the trained network's answers, expanded to second order (LeCun et al., Optimal Brain Damage, NeurIPS
1989; Theis et al., Faster Gaze Prediction with Dense Networks and Fisher Pruning, 2018; Zandonati et al., FIT: A Metric
for Model Sensitivity, 2022): a change d of a layer's output costs 1/2 E[(g . d)^2], where g is the gradient of the
log-likelihood of a class drawn from the answer. Answers are softened by a temperature, as for distillation (Hinton et al.,
2015): a network that is sure of its training images has next to no gradient there.

What batch norm takes back when it is re-estimated after rounding, a scale and a shift of each channel, is left out of d.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pqsearch.plan import Change, Plan, kinds_set
from pqsearch.sparsity import Pattern, pattern_of
from trainers.coupling import Traced
from trainers.prune import keep_indices, kept_masks, picked
from trainers.quantized import grid
from trainers.seeds import derive, torch_generator
from trainers.sparse import mask_of

#: Softens the network's answers. At 1 the gradients of a few odd images decide alone.
TEMPERATURE = 4.0


def expected_losses(
    model: nn.Module,
    traced: Traced,
    scores: dict[str, Tensor],
    batches: Iterable[Tensor],
    changes: Sequence[Change],
    *,
    quantizer: str,
    quantizer_options: dict[str, Any],
    sparsity_pattern: str = "layer",
) -> list[float]:
    """The expected divergence, in nats, for each of `changes` made alone to the float `model`.

    `batches` of images are looked at one after the other, so that memory holds one batch's activations. `scores` (channels,)
    per group say which channels a prune rate removes.
    """
    total = torch.zeros(len(changes), dtype=torch.float64)
    images = 0
    grids: dict[tuple[str, int], Any] = {}
    for number_of_batch, batch in enumerate(batches):
        layers = _observed(model, traced, batch, number_of_batch)
        for number, change in enumerate(changes):
            if change.kind == "prune_rate":
                moved = _pruning(model, traced, scores, layers, change)
            elif change.kind == "sparsity":
                moved = _zeroing(model, layers, change, pattern_of(sparsity_pattern) or Pattern())
            else:
                moved = _rounding(model, layers, change, quantizer, quantizer_options, grids)
            total[number] += moved.double().square().sum().cpu() / 2
        images += len(batch)
    return (total / images).tolist()


class _Layer:
    """What one forward and one backward pass showed of a layer."""

    def __init__(self, inputs: Tensor, outputs: Tensor) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.gradient = torch.zeros_like(outputs)


def _observed(model: nn.Module, traced: Traced, images: Tensor, batch: int) -> dict[str, list[_Layer]]:
    """Inputs, outputs and output gradients of every layer, one entry for each time it is used."""
    found: dict[str, list[_Layer]] = {layer.name: [] for layer in traced.info.layers}
    handles = []

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            # Weights are frozen: gradients flow from here on, and the outputs are where they are wanted.
            if not output.requires_grad:
                output.requires_grad_(True)
            layer = _Layer(inputs[0].detach(), output.detach())
            output.register_hook(lambda gradient: layer.gradient.copy_(gradient))
            found[name].append(layer)
            return output.clone()  # what comes next may work in place

        return hook

    for name in found:
        handles.append(model.get_submodule(name).register_forward_hook(watch(name)))
    try:
        answers = model(images) / TEMPERATURE
        drawn = torch.multinomial(
            answers.detach().softmax(1).cpu(), 1, generator=torch_generator(derive("answers", batch))
        )
        # The sum over images, so that every image's gradient is its own.
        functional.cross_entropy(answers, drawn[:, 0].to(answers.device), reduction="sum").backward()
    finally:
        for handle in handles:
            handle.remove()
    return found


@torch.no_grad()
def _rounding(
    model: nn.Module,
    layers: dict[str, list[_Layer]],
    change: Change,
    quantizer: str,
    options: dict[str, Any],
    grids: dict[tuple[str, int], Any],
) -> Tensor:
    """g . d of each image when weights or inputs are rounded, or both, of a layer and of those tied to it.

    `grids` keeps those of weights, by layer and bits: to fit one costs more than all else here, and no batch changes it.
    """
    moved: list[Tensor] = []
    for name in (change.name, *change.tied):
        module = cast("nn.Conv2d | nn.Linear", model.get_submodule(name))
        weight = module.weight.detach()
        for kind in kinds_set(change.kind):
            role: Literal["weight", "act"] = "weight" if kind == "weight_bits" else "act"
            rounded = grids.get((name, int(change.value))) if role == "weight" else None
            if rounded is None:
                rounded = cast("Any", grid(module, role, int(change.value), quantizer, options)).to(weight.device)
                rounded.calibrate(weight if role == "weight" else layers[name][0].inputs)
                if role == "weight":
                    grids[name, int(change.value)] = rounded
            for layer in layers[name]:
                if role == "weight":
                    after = _apply(module, layer.inputs, rounded(weight) - weight)
                else:
                    after = _apply(module, rounded(layer.inputs) - layer.inputs, weight)
                moved.append(_along(layer.gradient, _without_affine(layer, after)))
    return torch.stack(moved).sum(0)


@torch.no_grad()
def _zeroing(model: nn.Module, layers: dict[str, list[_Layer]], change: Change, pattern: Pattern) -> Tensor:
    """g . d of each image when some weights of a layer become zero."""
    module = cast("nn.Conv2d | nn.Linear", model.get_submodule(change.name))
    weight = module.weight.detach()
    gone = -weight * ~mask_of(weight, change.value, pattern)
    moved = [
        _along(layer.gradient, _without_affine(layer, _apply(module, layer.inputs, gone)))
        for layer in layers[change.name]
    ]
    return torch.stack(moved).sum(0)


@torch.no_grad()
def _pruning(
    model: nn.Module, traced: Traced, scores: dict[str, Tensor], layers: dict[str, list[_Layer]], change: Change
) -> Tensor:
    """g . d of each image when a group loses channels: what all its readers no longer see."""
    masks = kept_masks(traced, keep_indices(traced, Plan({change.name: change.value}), scores))
    total: Tensor | None = None
    for name, used in layers.items():
        stays = picked(traced.inputs.get(name), masks)
        if stays is None:
            continue
        module = cast("nn.Conv2d | nn.Linear", model.get_submodule(name))
        for layer in used:
            gone = (~stays).to(layer.inputs)
            gone = gone.view(-1, 1, 1) if isinstance(module, nn.Conv2d) else gone
            # Channels that are gone are gone from the residual sum too: batch norm cannot bring them back.
            one = _along(layer.gradient, _apply(module, -layer.inputs * gone, module.weight))
            total = one if total is None else total + one
    if total is None:  # channels that nothing reads
        return torch.zeros(1)
    return total


def _apply(module: nn.Conv2d | nn.Linear, inputs: Tensor, weight: Tensor) -> Tensor:
    if isinstance(module, nn.Conv2d):
        return module._conv_forward(inputs, weight, None)
    return functional.linear(inputs, weight)


def _without_affine(layer: _Layer, change: Tensor) -> Tensor:
    """A change of convolution outputs less the scale and the shift of each channel that come closest to it."""
    if change.ndim != 4:
        return change
    outputs = layer.outputs - layer.outputs.mean((0, 2, 3), keepdim=True)
    change = change - change.mean((0, 2, 3), keepdim=True)
    scale = (change * outputs).sum((0, 2, 3)) / outputs.square().sum((0, 2, 3)).clamp_min(1e-12)
    return change - scale.view(1, -1, 1, 1) * outputs


def _along(gradient: Tensor, change: Tensor) -> Tensor:
    """g . d of each image (batch,)."""
    return (gradient * change).flatten(1).sum(1)
