"""Block reconstruction (Li et al., BRECQ, ICLR 2021): weights are rounded up or down so that blocks give what they gave in float.

Block after block, in the order of the network, the rounding of each weight is learned on inputs that the quantised blocks before it
have made, towards the outputs of the float network. Then, in the same order, the steps of the activations are learned (Esser et al.,
LSQ, ICLR 2020) towards the same outputs. Blocks are what the network's graph can be cut into; labels are not needed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal, cast

import torch
from torch import Tensor, nn

from pqsearch.rooms import Doc, Range
from trainers.blocks import BATCH, Chain, Layers, Step, Walk, outputs
from trainers.calibrators import mse
from trainers.calibrators._adaround import SoftRounding, exponent_at
from trainers.calibrators._work import NOBODY, Work
from trainers.passing import AllUses
from trainers.quantized import Grid, masked, quantized_layers
from trainers.seeds import seeded

log = logging.getLogger(__name__)

#: It learns: it is given all images there are, and afterwards batch norm has to stay as it is.
LEARNS = True


def calibrate(
    model: nn.Module,
    images: Tensor,
    work: Work = NOBODY,
    *,
    iterations: Annotated[int, Doc("Steps that the rounding of a block is learned in."), Range(1, 100_000)] = 1000,
    lr: Annotated[float, Doc("Learning rate of the rounding."), Range(1e-5, 1)] = 0.01,
    act_iterations: Annotated[
        int, Doc("Steps that the activation steps of a block are learned in."), Range(0, 100_000)
    ] = 300,
    act_lr: Annotated[float, Doc("Their learning rate, as a share of each step."), Range(1e-6, 1)] = 0.002,
    batch_size: Annotated[int, Doc("Images of a step."), Range(1, 4096)] = 32,
    penalty: Annotated[float, Doc("Weight of the penalty on weights between two roundings."), Range(0, 100)] = 0.01,
    blocks: Annotated[
        Literal["graph", "layers"], Doc("What is reconstructed: parts of the network's graph, or single layers.")
    ] = "graph",
    fisher: Annotated[
        bool, Doc("Outputs count by the squared gradient of the loss at the float network's own answers.")
    ] = False,
    seed: Annotated[int, Doc("Which images come in which step."), Range(0, 2147483647)] = 0,
) -> None:
    """Set every quantiser's steps, and round the weights: afterwards they lie on their grids."""
    mode = model.training
    model.eval()
    with _gradients_off(model), torch.enable_grad():
        walk = _walk(model, images, blocks, fisher)

        def weights(step: Step) -> float:
            return _round_weights(step, iterations, lr, batch_size, penalty)

        def acts(step: Step) -> float:
            return _learn_acts(step, act_iterations, act_lr, batch_size)

        begun = work.begun()
        _set_weight_steps(model, begun)
        done = begun["done"] if begun is not None else 0
        grids = _without_acts(model)
        done = _stage("weights", model, walk, weights, done, 0, seed, work)
        _with_acts(model, grids)
        _stage("activations", model, walk, acts, done, len(walk), seed, work)
    model.train(mode)


def _walk(model: nn.Module, images: Tensor, blocks: str, fisher: bool) -> Walk:
    if blocks == "graph":
        try:
            return Chain(model, images, fisher, _whole)
        except ValueError as error:
            log.warning("brecq: layer by layer, since the network's graph cannot be followed (%s)", error)
    if fisher:
        log.warning("brecq: fisher is left out: what single layers give is not followed to the loss")
    return Layers(model, images)


def _whole(name: str, reason: str) -> None:
    log.warning("brecq: %s is one block with all that is in it, since it cannot be followed (%s)", name, reason)


def _stage(
    name: str,
    model: nn.Module,
    walk: Walk,
    learn: Callable[[Step], float],
    done: int,
    before: int,
    seed: int,
    work: Work,
) -> int:
    """One pass over the blocks from where an earlier try ended; how many steps of both passes are done then."""
    total = 2 * len(walk)
    if done >= before + len(walk):
        return done
    for place, step in enumerate(walk.steps(done - before), start=done - before):
        with seeded(seed + before + place):
            error = learn(step)
        done = before + place + 1
        work.keep({"done": done, "model": model.state_dict()})
        work.progress(done, total)
        log.info("brecq: %s of block %d/%d, error %.3g", name, place + 1, len(walk), error)
    return done


def _round_weights(step: Step, iterations: int, lr: float, batch_size: int, penalty: float) -> float:
    """Learn the rounding of a block's weights, and round them; the error that is left."""
    # A grid of one bit has nothing between its two values.
    layers = [layer for layer in step.layers if layer.weight_quantizer is not None and layer.weight_quantizer.bits > 1]
    if layers:
        grids = [cast("Any", layer.weight_quantizer) for layer in layers]
        soft = [
            SoftRounding(masked(layer, layer.weight.detach()), grid, (grid.low, grid.high))
            for layer, grid in zip(layers, grids, strict=True)
        ]
        for layer, one in zip(layers, soft, strict=True):
            layer.weight_quantizer = cast("Any", one)
        try:
            optimizer = torch.optim.Adam([one.alpha for one in soft], lr=lr)
            for number in range(iterations):
                loss = _error(step, _picked(step, batch_size))
                exponent = exponent_at(number, iterations)
                if exponent is not None:
                    loss = loss + penalty * torch.stack([one.penalty(exponent) for one in soft]).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        finally:
            for layer, grid in zip(layers, grids, strict=True):
                layer.weight_quantizer = grid
        for layer, one in zip(layers, soft, strict=True):
            layer.weight.data.copy_(one.hard().detach())
    return _left(step)


def _learn_acts(step: Step, iterations: int, lr: float, batch_size: int) -> float:
    """Set the activation steps of a block from what comes in, and learn those that can be learned; the error that is left."""
    layers = [layer for layer in step.layers if layer.act_quantizer is not None]
    uses = AllUses({str(place): layer for place, layer in enumerate(layers)}, lambda: step.block(step.inputs[:1]))

    def look(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        layer.act_quantizer.calibrate(uses.of(layer, "inputs", inputs[0].detach()), mse.steps)

    handles = [layer.register_forward_pre_hook(look) for layer in layers]
    try:
        with torch.no_grad():
            step.block(step.inputs[:BATCH])
    finally:
        for handle in handles:
            handle.remove()
    learned = [grid.step for layer in layers if (grid := layer.act_quantizer) is not None]
    learned = [one for one in learned if isinstance(one, nn.Parameter)]
    if learned and iterations:
        groups = [{"params": [one], "lr": lr * float(one.detach().mean())} for one in learned]
        optimizer = torch.optim.Adam(groups)
        for one in learned:
            one.requires_grad_(True)
        for _ in range(iterations):
            loss = _error(step, _picked(step, batch_size))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        for one in learned:
            one.requires_grad_(False)
    return _left(step)


def _picked(step: Step, batch_size: int) -> Tensor:
    return torch.randperm(len(step.inputs))[:batch_size]


def _error(step: Step, picked: Tensor) -> Tensor:
    """Squared error of some images, summed over channels and averaged over images and positions."""
    return _distance(
        step.block(step.inputs[picked]),
        step.wanted[picked],
        None if step.weights is None else step.weights[picked],
    )


def _distance(found: Tensor, wanted: Tensor, weights: Tensor | None) -> Tensor:
    squares = (found - wanted).square()
    return (squares if weights is None else squares * weights).sum(1).mean()


def _left(step: Step) -> float:
    return float(_distance(outputs(step.block, step.inputs), step.wanted, step.weights))


@torch.no_grad()
def _set_weight_steps(model: nn.Module, begun: dict[str, Any] | None) -> None:
    """From the weights; after a broken try, whose weights are partly rounded, as they were then."""
    for _, layer in quantized_layers(model):
        if layer.weight_quantizer is not None:
            layer.weight_quantizer.calibrate(masked(layer, layer.weight), mse.steps)
    if begun is not None:
        # What was kept while weights were rounded has no activations.
        model.load_state_dict(begun["model"], strict=False)


def _without_acts(model: nn.Module) -> list[Grid | None]:
    """Activations are as they are while weights are rounded."""
    found = []
    for _, layer in quantized_layers(model):
        found.append(layer.act_quantizer)
        layer.act_quantizer = None
    return found


def _with_acts(model: nn.Module, grids: Sequence[Grid | None]) -> None:
    for (_, layer), grid in zip(quantized_layers(model), grids, strict=True):
        layer.act_quantizer = grid


@contextmanager
def _gradients_off(model: nn.Module) -> Iterator[None]:
    """Of everything that is not learned here."""
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, learned in wanted:
            parameter.requires_grad_(learned)
