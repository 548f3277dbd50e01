from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import trainers
from pqsearch.errors import UserError
from pqsearch.plan import LayerPlan, Plan
from tests.trainers.nets import NETS, batch, make, random_plan
from trainers.build import load_weights
from trainers.compress import calibrate_steps, compress, quantizers, reestimate_norms, step_parameters
from trainers.exporters.torch_weights import export
from trainers.layers import trace
from trainers.prune import channel_scores
from trainers.quantized import quantized_layers


@pytest.mark.parametrize("name", NETS)
def test_an_empty_plan_computes_the_same_bit_for_bit(name: str) -> None:
    model, shape = make(name)
    traced = trace(model, shape)
    written = Plan(
        {group.name: 0.0 for group in traced.info.groups}, {layer.name: LayerPlan() for layer in traced.info.layers}
    )
    images = batch(shape)
    for plan in (Plan(), written):
        same = compress(model, plan, traced=traced)
        assert same is not model
        assert not list(quantized_layers(same))
        assert torch.equal(same(images), model(images))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", NETS)
def test_plan_and_weights_rebuild_the_module_exactly_from_a_fresh_build(name: str, seed: int, tmp_path: Path) -> None:
    model, shape = make(name)
    traced = trace(model, shape)
    plan = random_plan(traced.info, seed)
    scores = channel_scores(model, traced, "l1")
    compressed = compress(model, plan, traced=traced, scores=scores)
    calibrate_steps(compressed, batch(shape))
    (path,) = export(compressed, tmp_path)
    fresh, _ = make(name, seed=99)
    rebuilt = compress(fresh, plan, input_shape=shape)
    load_weights(rebuilt, path)
    images = batch(shape, seed=5)
    assert torch.equal(rebuilt(images), compressed(images))
    assert not torch.equal(compressed(images), compress(model, Plan(plan.groups), traced=traced, scores=scores)(images))


def test_compress_is_offered_by_the_package_and_leaves_the_original_alone() -> None:
    model, shape = make("digits_net")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    plan = Plan({"conv1": 0.5}, {"conv1": LayerPlan(4, 8)})
    compressed = trainers.compress(model, plan, input_shape=shape)
    calibrate_steps(compressed, batch(shape))
    assert list(before) == list(model.state_dict())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert type(model.get_submodule("conv1")) is nn.Conv2d


def test_weights_keep_their_names_and_quantisers_sit_beside_them() -> None:
    model, shape = make("digits_net")
    compressed = compress(
        model, Plan(layers={"conv1": LayerPlan(4, 32), "linear": LayerPlan(32, 6)}), input_shape=shape
    )
    added = set(compressed.state_dict()) - set(model.state_dict())
    assert added == {
        "conv1.weight_quantizer.step", "conv1.weight_quantizer.seen_signed",
        "linear.act_quantizer.step", "linear.act_quantizer.seen_signed",
    }  # fmt: skip
    assert set(model.state_dict()) <= set(compressed.state_dict())
    grids = dict(quantizers(compressed))
    assert {name: (grid.bits, grid.axis) for name, grid in grids.items()} == {
        "conv1.weight_quantizer": (4, 0),
        "linear.act_quantizer": (6, None),
    }
    assert [parameter.shape for parameter in step_parameters(compressed)] == [(8,), (1,)]


@pytest.mark.parametrize("name", NETS)
def test_calibration_reaches_every_quantiser_and_eight_bits_stay_close_to_float(name: str) -> None:
    model, shape = make(name)
    traced = trace(model, shape)
    compressed = compress(
        model, Plan(layers={layer.name: LayerPlan(8, 8) for layer in traced.info.layers}), traced=traced
    )
    images = batch(shape, 16)
    assert torch.equal(compressed(images), model(images))  # not calibrated yet
    calibrate_steps(compressed, images)
    assert all(grid.ready for _, grid in quantizers(compressed))
    difference = (compressed(images) - model(images)).abs().max()
    assert 0 < difference < 0.25 * model(images).std()


def test_layers_are_calibrated_on_what_the_quantised_layers_before_them_give() -> None:
    model, shape = make("digits_net")
    layers = {layer.name: LayerPlan(2, 2) for layer in trace(model, shape).info.layers}
    compressed = compress(model, Plan(layers=layers), input_shape=shape)
    images = batch(shape, 8)
    calibrate_steps(compressed, images)
    late = dict(quantized_layers(compressed))["layer3.1.conv2"]
    inputs: list[Tensor] = []
    handle = late.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    compressed(images)
    handle.remove()
    assert late.act_quantizer is not None
    before = late.act_quantizer.step.clone()
    late.act_quantizer.calibrate(inputs[0])
    assert torch.equal(before, late.act_quantizer.step)


def test_signedness_is_seen_per_layer() -> None:
    model, shape = make("digits_net")
    compressed = compress(
        model, Plan(layers={"conv1": LayerPlan(32, 8), "layer1.0.conv1": LayerPlan(32, 8)}), input_shape=shape
    )
    calibrate_steps(compressed, batch(shape))
    assert {name: grid.signed for name, grid in quantizers(compressed)} == {
        "conv1.act_quantizer": True,  # normalised images
        "layer1.0.conv1.act_quantizer": False,  # behind a ReLU
    }


def test_calibration_takes_batches_and_keeps_the_mode() -> None:
    model, shape = make("digits_net")
    plan = Plan(layers={"conv1": LayerPlan(4, 4)})
    images = batch(shape, 8)
    once, twice = (compress(model, plan, input_shape=shape).train() for _ in range(2))
    calibrate_steps(once, images)
    calibrate_steps(twice, [images[:5], images[5:]])
    assert once.training and all(
        torch.equal(value, twice.state_dict()[key]) for key, value in once.state_dict().items()
    )


def test_a_quantised_network_learns_with_all_of_its_steps() -> None:
    model, shape = make("digits_net")
    layers = {layer.name: LayerPlan(3, 3) for layer in trace(model, shape).info.layers}
    compressed = compress(model, Plan({"conv1": 0.25}, layers), input_shape=shape)
    images, labels = batch(shape, 32), torch.arange(32) % 5
    calibrate_steps(compressed, images)
    compressed.train()
    optimizer = torch.optim.SGD(compressed.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = functional.cross_entropy(compressed(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert all(step.grad is not None and bool(step.grad.any()) for step in step_parameters(compressed))


def test_norm_statistics_become_plain_averages_over_the_batches() -> None:
    model, shape = make("digits_net")
    batches = [batch(shape, 8, seed=seed) for seed in range(3)]
    reestimate_norms(model, batches)
    with torch.no_grad():
        outputs = [model.get_submodule("conv1")(images) for images in batches]
    expected = torch.stack([output.mean((0, 2, 3)) for output in outputs]).mean(0)
    norm = model.get_submodule("bn1")
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None
    assert torch.allclose(norm.running_mean, expected, atol=1e-6)
    assert not model.training and not norm.training and norm.momentum == 0.1


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan({"conv2": 0.5}), "plan.groups.conv2: the model has no such group, did you mean 'conv1'?"),
        (Plan(layers={"liner": LayerPlan(4, 4)}), "plan.layers.liner: the model has no such layer, did you mean"),
        (Plan({"linear": 0.4}), "plan.groups.linear: cannot be pruned: its channels are the model's outputs"),
        (Plan({"conv1": 0.99}), "plan.groups.conv1.prune_rate: must remove a multiple of 1 of 8 channels"),
    ],
)  # fmt: skip
def test_a_plan_that_does_not_fit_the_model_is_refused_in_words(plan: Plan, words: str) -> None:
    model, shape = make("digits_net")
    with pytest.raises(UserError) as error:
        compress(model, plan, input_shape=shape)
    assert error.value.problems[0].startswith(words)


def test_all_mistakes_of_a_plan_are_named_at_once() -> None:
    model, shape = make("grouped")
    with pytest.raises(UserError) as error:
        compress(model, Plan({"first.3": 1 / 16, "nowhere": 0.5}, {"no": LayerPlan()}), input_shape=shape)
    assert len(error.value.problems) == 3
    assert any("multiple of 4 of 16" in problem for problem in error.value.problems)
