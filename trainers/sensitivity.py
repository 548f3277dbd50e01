"""What each single change to a network is expected to cost in loss, from one backward pass: the cheap prior.

The divergence from the trained network's answers, expanded to second order (LeCun et al., Optimal Brain Damage, NeurIPS
1989; Theis et al., Faster Gaze Prediction with Dense Networks and Fisher Pruning, 2018; Zandonati et al., FIT: A Metric
for Model Sensitivity, 2022): a change d of a layer's output costs 1/2 E[(g . d)^2], where g is the gradient of the
log-likelihood of a class drawn from the answer. Answers are softened by a temperature, as for distillation (Hinton et al.,
2015): a network that is sure of its training images has next to no gradient there.

What batch norm behind a convolution takes back when it is re-estimated after rounding, a scale and a shift of each channel, is left
out of d.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.weak import WeakTensorKeyDictionary

from pqsearch.plan import Change, Plan, kinds_set
from pqsearch.sparsity import Pattern, pattern_of
from trainers.coupling import NORMS, Traced
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
                moved = _pruning(traced, scores, layers, change)
            elif change.kind == "sparsity":
                moved = _zeroing(model, layers, change, pattern_of(sparsity_pattern) or Pattern())
            else:
                moved = _rounding(model, layers, change, quantizer, quantizer_options, grids)
            total[number] += moved.double().square().sum().cpu() / 2
        images += len(batch)
    return (total / images).tolist()


class _Layer:
    """What one forward and one backward pass showed of a layer, each time it was used.

    `read` (images, input channels) is g . d when the layer no longer sees a channel: the backward pass has it on its way.
    """

    outputs: Tensor
    gradient: Tensor
    read: Tensor

    def __init__(self, inputs: Tensor, convolves: bool) -> None:
        self.inputs, self.convolves, self.normed = inputs, convolves, False

    def unread(self, gradient: Tensor) -> None:
        """Take in the gradient of the inputs through this layer alone."""
        lost = -gradient * self.inputs
        # Linear layers have their channels last, whatever comes before: some see images of (height, width, channels).
        self.read = lost.sum((2, 3)) if self.convolves else lost.reshape(len(lost), -1, lost.shape[-1]).sum(1)

    @cached_property
    def shape_of_outputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of convolutions: outputs less the mean of their channel, its sum of squares (channels,), and g's sum and g . those outputs
        (images, channels).
        """
        centred = self.outputs - self.outputs.mean((0, 2, 3), keepdim=True)
        squares = centred.square().sum((0, 2, 3)).clamp_min(1e-12)
        return centred, squares, self.gradient.sum((2, 3)), (self.gradient * centred).sum((2, 3))

    def moved(self, change: Tensor) -> Tensor:
        """g . d of each image (images,), for a change of the outputs; where a norm follows, less the scale and the shift of each
        channel that come closest to it.
        """
        if not (self.convolves and self.normed):
            return (self.gradient * change).flatten(1).sum(1)
        # Sums over places instead of d itself: large networks pay for every pass over their outputs.
        centred, squares, gradient, along = self.shape_of_outputs
        scale = (change * centred).sum((0, 2, 3)) / squares
        moved = (self.gradient * change).sum((2, 3)) - change.mean((0, 2, 3)) * gradient - scale * along
        return moved.sum(1)


def _observed(model: nn.Module, traced: Traced, images: Tensor, batch: int) -> dict[str, list[_Layer]]:
    """Inputs, outputs and output gradients of every layer, one entry for each time it is used."""
    found: dict[str, list[_Layer]] = {layer.name: [] for layer in traced.info.layers}
    normed: set[str] = set()
    handles = []

    def watch(name: str) -> None:
        def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            # Weights are frozen, so that gradients have to begin at the first layers' inputs. Of an input that others read as well, what
            # comes back through this layer alone.
            inside = (
                inputs[0].view_as(inputs[0]) if inputs[0].requires_grad else inputs[0].detach().requires_grad_(True)
            )
            layer = _Layer(inside.detach(), isinstance(module, nn.Conv2d))
            inside.register_hook(layer.unread)
            found[name].append(layer)
            return inside, *inputs[1:]

        def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            layer = found[name][-1]
            layer.outputs, layer.gradient = output.detach(), torch.zeros_like(output)
            output.register_hook(layer.gradient.copy_)
            given = output.clone()  # what comes next may work in place
            written[given] = name
            return given

        module = model.get_submodule(name)
        handles.append(module.register_forward_pre_hook(before))
        handles.append(module.register_forward_hook(after))

    for name in found:
        watch(name)
    written: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
    handles += [
        module.register_forward_pre_hook(
            # What one layer wrote, or a sum, a join of what several did.
            lambda norm, inputs, among=among: normed.update([written[inputs[0]]] if inputs[0] in written else among)
        )
        for module, among in _norms(model, traced)
    ]
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
    for name, uses in found.items():
        for layer in uses:
            layer.normed = name in normed
    return found


def _norms(model: nn.Module, traced: Traced) -> Iterator[tuple[nn.Module, set[str]]]:
    """Batch norms, and the layers that write into channels which each reads."""
    for norm in traced.info.norms:
        module = model.get_submodule(norm.name)
        if isinstance(module, NORMS):
            groups = {source.group for source in norm.inputs}
            yield module, {layer.name for layer in traced.info.layers if layer.output in groups}


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
                rounded.calibrate(weight if role == "weight" else _read(layers[name]))
                if role == "weight":
                    grids[name, int(change.value)] = rounded
            for layer in layers[name]:
                if role == "weight":
                    after = _apply(module, layer.inputs, rounded(weight) - weight)
                else:
                    after = _apply(module, rounded(layer.inputs) - layer.inputs, weight)
                moved.append(layer.moved(after))
    return torch.stack(moved).sum(0)


def _read(uses: list[_Layer]) -> Tensor:
    """A layer's inputs, of all its uses in a row."""
    return uses[0].inputs if len(uses) == 1 else torch.cat([one.inputs.flatten() for one in uses])


@torch.no_grad()
def _zeroing(model: nn.Module, layers: dict[str, list[_Layer]], change: Change, pattern: Pattern) -> Tensor:
    """g . d of each image when some weights of a layer become zero."""
    module = cast("nn.Conv2d | nn.Linear", model.get_submodule(change.name))
    weight = module.weight.detach()
    gone = -weight * ~mask_of(weight, change.value, pattern)
    moved = [layer.moved(_apply(module, layer.inputs, gone)) for layer in layers[change.name]]
    return torch.stack(moved).sum(0)


def _pruning(traced: Traced, scores: dict[str, Tensor], layers: dict[str, list[_Layer]], change: Change) -> Tensor:
    """g . d of each image when a group loses channels: what all its readers no longer see."""
    masks = kept_masks(traced, keep_indices(traced, Plan({change.name: change.value}), scores))
    total: Tensor | None = None
    for name, used in layers.items():
        stays = picked(traced.inputs.get(name), masks)
        if stays is None:
            continue
        for layer in used:
            # Channels that are gone are gone from the residual sum too: batch norm cannot bring them back.
            one = layer.read[:, ~stays].sum(1)
            total = one if total is None else total + one
    if total is None:  # channels that nothing reads
        return torch.zeros(1)
    return total


def _apply(module: nn.Conv2d | nn.Linear, inputs: Tensor, weight: Tensor) -> Tensor:
    if isinstance(module, nn.Conv2d):
        return module._conv_forward(inputs, weight, None)
    return functional.linear(inputs, weight)
