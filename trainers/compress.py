"""Apply a plan: a smaller, quantised copy of a model, by layer name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pqsearch import rooms
from pqsearch.errors import UserError
from pqsearch.plan import Plan
from pqsearch.sparsity import WORDS, Pattern, pattern_of
from trainers.calibrators._work import NOBODY, Work
from trainers.coupling import NORMS, Traced
from trainers.layers import trace
from trainers.prune import keep_indices, remove_channels
from trainers.quantized import quantize, quantizers, step_parameters

__all__ = ["calibrate_steps", "compress", "quantizers", "reestimate_norms", "step_parameters"]


def compress(
    model: nn.Module,
    plan: Plan,
    *,
    input_shape: tuple[int, ...] | None = None,
    traced: Traced | None = None,
    scores: Mapping[str, Tensor] | None = None,
    quantizer: str = "lsq",
    quantizer_options: Mapping[str, Any] | None = None,
    sparsity_pattern: str = "layer",
) -> nn.Module:
    """`model` with the plan's channels removed, its layers quantised and some of what is left zero; the original is untouched.

    Give `traced`, or the `input_shape` (channels, height, width) to trace here. `scores` (channels,) per group say
    which channels stay; without them the first ones do, which is right when weights are loaded afterwards. Quantisers
    are the identity until `calibrate_steps` or a state dict sets them. An empty plan gives a network that computes the
    same, bit for bit. `sparsity_pattern` says where zeros may be, as the spec's key does; the smallest weights go, masks are
    buffers. Raises `UserError` for names that the model does not have and for zeros that the pattern does not have.
    """
    if traced is None:
        if input_shape is None:
            raise ValueError("compress needs `traced`, or `input_shape` to trace the model with")
        traced = trace(model, input_shape)
    pattern = pattern_of(sparsity_pattern)
    if pattern is None:
        raise UserError(f"sparsity_pattern: must be {WORDS}, got {sparsity_pattern!r}")
    _check_names(plan, traced, pattern)
    smaller = remove_channels(model, traced, keep_indices(traced, plan, scores))
    for layer in traced.info.layers:
        quantize(smaller, layer.name, plan.layer(layer.name), quantizer, quantizer_options or {}, pattern)
    # New quantisers are born on the CPU.
    return smaller.to(next(model.parameters()).device)


def _check_names(plan: Plan, traced: Traced, pattern: Pattern) -> None:
    layers = [layer.name for layer in traced.info.layers]
    groups = {group.name: group for group in traced.info.groups}
    problems = list(_unknown("layers", plan.layers, layers)) + list(_unknown("groups", plan.groups, list(groups)))
    for name, layer in plan.layers.items():
        if problem := pattern.problem(layer.sparsity):
            problems.append(
                f"plan.layers.{name}.sparsity: {problem}, got {layer.sparsity:g}; change [space] sparsity_pattern or the plan"
            )
    for name, rate in plan.groups.items():
        group = groups.get(name)
        if group is None or not rate:
            continue
        removed = round(rate * group.channels)
        if not group.prunable:
            problems.append(f"plan.groups.{name}: cannot be pruned: {group.reason}; set its prune_rate to 0")
        elif removed % group.unit or removed >= group.channels:
            problems.append(
                f"plan.groups.{name}.prune_rate: must remove a multiple of {group.unit} of {group.channels} channels "
                f"and leave some, got {rate} which is {removed}"
            )
    if problems:
        raise UserError(problems)


def _unknown(section: str, names: Iterable[str], known: list[str]) -> Iterable[str]:
    for name in names:
        if name not in known:
            yield f"plan.{section}.{name}: the model has no such {section[:-1]}{rooms.nearest(name, known)}"


def calibrate_steps(
    model: nn.Module,
    images: Tensor | Sequence[Tensor],
    calibrator: str = "mse",
    options: Mapping[str, Any] | None = None,
    work: Work = NOBODY,
) -> None:
    """Set the steps of all quantisers from normalised `images` (batch, channels, height, width), or batches of them.

    `calibrator` is a file in `trainers/calibrators/`, with its `options`. One that learns rounds weights, too, and uses `work` to tell
    how far it is and to go on where it was broken off.
    """
    images = images if isinstance(images, Tensor) else torch.cat(list(images))
    more = (work,) if learns(calibrator) else ()
    rooms.load("calibrators", calibrator)(model, images, *more, **(options or {}))


def learns(calibrator: str) -> bool:
    """Whether a calibrator learns from the images; then it wants many, and the network may not change in any way afterwards."""
    return bool(rooms.constants("calibrators", calibrator).get("LEARNS", False))


@torch.no_grad()
def reestimate_norms(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Batch norm statistics as plain averages over `batches` (Li et al., EagleEye, ECCV 2020, adaptive batch norm)."""
    norms = [module for module in model.modules() if isinstance(module, NORMS) and module.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    mode = model.training
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    try:
        for images in batches:
            model(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(mode)
