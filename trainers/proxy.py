"""The evaluator: one rung of one plan, from baseline weights to a score. The product's hot path.

What the search wants to know before there are plans is answered here too: probes and gradients.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pqsearch import rooms
from pqsearch.plan import Item, Plan, Result
from pqsearch.spec import Spec
from pqsearch.spec_network import CalibrationSpec, ReconstructionSpec
from pqsearch.spec_search import RungSpec
from trainers import files
from trainers.baseline import initial_model, plain
from trainers.build import load_weights
from trainers.calibrators._work import NOBODY, Work
from trainers.compress import calibrate_steps, compress, learns, reestimate_norms
from trainers.coupling import NORMS, Traced
from trainers.data import Loader, Splits
from trainers.datasets._types import Dataset
from trainers.device import evaluation_batch, limit_memory, release
from trainers.layers import trace
from trainers.loop import Diverged, Recipe, Trainer
from trainers.loop import evaluate as evaluate_model
from trainers.prune import channel_scores
from trainers.quantized import step_parameters
from trainers.seeds import derive
from trainers.sensitivity import expected_losses
from trainers.task import CLASSIFY, Task, accuracy_of, task_of

#: Images that set the step sizes; batch norm may look at more of them.
STEP_IMAGES = 128
#: Weight decay of short fine-tunes: too short for it to matter, so the field's usual value.
PROXY_WEIGHT_DECAY = 1e-4


@dataclass
class Context:
    """What a worker makes once: data, the baseline and its layers, channel scores. `held` is the last item's module."""

    spec: Spec
    dataset: Dataset
    splits: Splits
    device: torch.device
    scratch: Path
    baseline: nn.Module
    traced: Traced
    scores: dict[str, Tensor]
    train: Loader
    score: Loader
    #: The baseline's scores of the scoring slice (images,); known where a target compares with it.
    before: NDArray[Any] | None = None
    task: Task = CLASSIFY
    held: tuple[str, nn.Module] | None = field(default=None)


def make_context(
    spec: Spec, dataset: Dataset, splits: Splits, baseline: Path, scratch: Path, device: torch.device
) -> Context:
    """Load the baseline's weights and trace it; the first evaluation then pays for no loading."""
    model = initial_model(spec, dataset, weights=False)
    load_weights(model, baseline)
    traced = trace(model, dataset.input_shape)
    train = Loader(dataset, splits.train, device)
    model = model.to(device).to(memory_format=torch.channels_last).eval()
    options = spec.pruning.options
    batch = None
    if rooms.constants("importances", spec.pruning.importance).get("GRADIENTS", False):
        batch = train.sample(spec.pruning.gradient_images, "importance")
    task = task_of(spec.task)
    scores = channel_scores(model, traced, spec.pruning.importance, options, batch, task.train_loss)
    scores = {name: values.cpu() for name, values in scores.items()}
    model.requires_grad_(False)
    # The first optimiser of a process imports a good part of torch; a worker pays for that here, not in its first plan.
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    score = Loader(dataset, splits.score, device)
    before = evaluate_model(model, score, task)[0] if spec.target is not None else None
    return Context(spec, dataset, splits, device, scratch, model, traced, scores, train, score, before, task)


def compressed(context: Context, plan: Plan) -> nn.Module:
    """The baseline under a plan: smaller, with quantisers that are not calibrated yet."""
    spec = context.spec
    module = compress(
        context.baseline,
        plan,
        traced=context.traced,
        scores=context.scores,
        quantizer=spec.quantizer.name,
        quantizer_options=spec.quantizer.options,
        sparsity_pattern=spec.space.sparsity_pattern,
    )
    return module.to(memory_format=torch.channels_last).requires_grad_(True)


def calibrate(context: Context, module: nn.Module, images: int, repeat: int = 0) -> None:
    """Batch norm of the pruned float network, then step sizes, then batch norm of the quantised one.

    The same training images for every plan: what differs between scores is then the plan. Another `repeat` draws others.
    """
    how = context.spec.calibration
    _calibrate(context, module, how, min(images, STEP_IMAGES), images, "calibration", repeat)


def reconstruct(context: Context, module: nn.Module, how: ReconstructionSpec, work: Work) -> None:
    """The same for a plan that is worth more: on other images, by the calibrator of `[reconstruction]`."""
    _calibrate(context, module, how, how.images, how.images, "reconstruction", work=work)


def _calibrate(
    context: Context,
    module: nn.Module,
    how: CalibrationSpec | ReconstructionSpec,
    looked_at: int,
    images: int,
    *seed: str | int,
    work: Work = NOBODY,
) -> None:
    """Measure batch norm on `images`; set steps on `looked_at` of them, or on all where weights are learned from them, too."""
    parts = context.train.parts(images, *seed, augment=tuple(context.spec.data.augment))
    learned = learns(how.calibrator)
    reestimate_norms(module, parts)
    sample, _ = context.train.sample(images if learned else looked_at, *seed)
    calibrate_steps(module, sample, how.calibrator, how.options, work)
    if not learned:
        reestimate_norms(module, parts)


def evaluate(context: Context, item: Item) -> Result:
    """One rung of `item`: continue where the last rung ended, calibrate or train, score on the scoring slice.

    The same item gives the same score on every worker of one device kind, thread count and version. What goes wrong
    with the candidate itself (divergence, memory) is a `failure` in the result, not an exception. The weights for the
    next rung are on disk before this returns.
    """
    if not item.alone:
        return _evaluate(context, item)
    # Nobody else uses the GPU meanwhile.
    limit_memory(context.device, 1)
    try:
        return _evaluate(context, item)
    finally:
        release(context.device)
        limit_memory(context.device, context.spec.workers.gpus)


def lost_rungs(context: Context, item: Item) -> list[Item]:
    """What has to be evaluated once more before `item` because the weights that it starts from are gone, lowest rung first:
    nothing where they are there, else all rungs above the highest one whose weights still are.
    """
    if item.start is None or (context.held is not None and context.held[0] == item.start):
        return []
    rungs: list[Item] = []
    start: str | None = item.start
    while start is not None and not (context.scratch / start).is_file():
        rung = item.rung - len(rungs) - 1
        start = _weights_name(item, rung - 1) if rung else None
        rungs.append(replace(item, rung=rung, start=start, last=False))
    return rungs[::-1]


def _weights_name(item: Item, rung: int) -> str:
    """With the plan: where a journal was cut, another one may be given the number of a candidate that is lost."""
    return f"{item.id}-{item.repeat}-{rung}-{item.plan.hash}.pth"


def _evaluate(context: Context, item: Item) -> Result:
    seconds: dict[str, float] = {}
    if item.kind == "gradients":
        return _expected(context, item)
    rung = context.spec.rungs[item.rung]
    # Whatever happens to the held module from here on, it is no longer what its file holds.
    held, context.held = context.held, None
    try:
        module = _module(context, item, held, seconds)
        if context.spec.calibrates(item.rung):
            with _timed(seconds, "calibrate"):
                calibrate(context, module, rung.images, item.repeat)
        if rung.kind != "calibrate" and item.kind != "probe":
            with _timed(seconds, "train"):
                _train(context, module, item, rung)
        with _timed(seconds, "score"):
            scores, loss = evaluate_model(module, context.score, context.task)
        if loss != loss or loss == float("inf"):
            raise Diverged(f"the loss on the scoring slice is {loss}")
    except FloatingPointError as error:  # `Diverged`, or nothing that a grid can be set for
        return Result(item.id, item.rung, item.repeat, None, None, seconds, failure=f"diverged: {error}")
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        release(context.device)
        failure = f"out of memory: {error}"
        crowded = 0 < context.spec.workers.gpus < 1 and not item.alone
        return Result(item.id, item.rung, item.repeat, None, None, seconds, failure=failure, crowded=crowded)
    weights = None
    if not item.last:
        weights = _weights_name(item, item.rung)
        with _timed(seconds, "save"):
            files.save(plain(module), context.scratch / weights)
        context.held = (weights, module)
    compared = compare(context.before, scores) if context.before is not None else {}
    return Result(item.id, item.rung, item.repeat, accuracy_of(scores), loss, seconds, weights, **compared)


def compare(before: NDArray[Any], after: NDArray[Any]) -> dict[str, Any]:
    """What the scores (images,) of the same images lost and gained: images where they are booleans, else also the `squares`."""
    if before.dtype == np.bool_:
        return {"lost": int((before & ~after).sum()), "gained": int((after & ~before).sum())}
    change = after - before
    lost, gained = float(-change[change < 0].sum()), float(change[change > 0].sum())
    return {"lost": lost, "gained": gained, "squares": float((change**2).sum())}


def _expected(context: Context, item: Item) -> Result:
    seconds: dict[str, float] = {}
    images, _ = context.train.sample(context.spec.sensitivity.images, "sensitivity")
    with _timed(seconds, "gradients"):
        expected = expected_losses(
            context.baseline,
            context.traced,
            context.scores,
            images.split(gradient_batch(context)),
            item.changes,
            quantizer=context.spec.quantizer.name,
            quantizer_options=context.spec.quantizer.options,
            sparsity_pattern=context.spec.space.sparsity_pattern,
        )
    return Result(item.id, item.rung, item.repeat, None, None, seconds, expected=tuple(expected))


def gradient_batch(context: Context) -> int:
    """Images that gradients are looked at of at once: inputs, outputs and gradients of every layer are held together."""
    return max(1, evaluation_batch(context.dataset.input_shape, context.device) // 2)


def _out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Torch has no exception of its own for the CPU's memory."""
    known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return known or "can't allocate memory" in str(error) or "out of memory" in str(error)


def _module(context: Context, item: Item, held: tuple[str, nn.Module] | None, seconds: dict[str, float]) -> nn.Module:
    if item.start is not None and held is not None and held[0] == item.start:
        return held[1]
    with _timed(seconds, "surgery"):
        module = compressed(context, item.plan)
        if item.start is not None:
            module.load_state_dict(files.load(context.scratch / item.start))
    return module


def _train(context: Context, module: nn.Module, item: Item, rung: RungSpec) -> None:
    if rung.kind == "few_shot":
        norms = [part for part in module.modules() if isinstance(part, NORMS)]
        trained = {id(parameter) for part in norms for parameter in part.parameters()}
        trained |= {id(parameter) for parameter in step_parameters(module)}
        for parameter in module.parameters():
            parameter.requires_grad_(id(parameter) in trained)
    seed = ("proxy", item.plan.hash, item.rung, item.repeat)
    recipe = Recipe(
        steps=rung.steps,
        lr=rung.lr,
        weight_decay=PROXY_WEIGHT_DECAY,
        warmup_steps=rung.steps // 10,
        amp=rung.amp,
        seed=derive(*seed),
        task=context.task,
    )
    augment = tuple(context.spec.data.augment)
    epochs = (context.train.epoch(rung.batch_size, augment, *seed, number) for number in count())
    try:
        Trainer(module, recipe, context.device).run(islice(chain.from_iterable(epochs), rung.steps))
    finally:
        module.requires_grad_(True)


@contextmanager
def _timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds[phase] = seconds.get(phase, 0.0) + time.perf_counter() - began
