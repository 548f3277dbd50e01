"""A network in integers computes what its fixed-point module does in float64, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pqsearch.errors import UserError
from pqsearch.plan import LayerPlan
from pqsearch.spec_network import FixedPointSpec
from tests.trainers.small import shaken
from tests.trainers.test_segments import Again
from trainers.build import build_model
from trainers.equalizing import ClippedReLU
from trainers.fixed_point import integer_files
from trainers.fixed_point.ahead import integer_problem
from trainers.fixed_point.convert import as_float, calibrate, fixed_point
from trainers.fixed_point.integer import IntegerNetwork, integer_layers
from trainers.fixed_point.layers import fixed_layers, weight_integers
from trainers.fixed_point.values import NoIntegerForm
from trainers.quantized import quantize

SHAPE = (3, 32, 32)


def made(model: nn.Module, shape: tuple[int, ...] = SHAPE, bits: Any = None, **settings: Any) -> nn.Module:
    """Calibrated, in float64."""
    network = fixed_point(shaken(model).float(), shape, FixedPointSpec(**settings), bits)
    calibrate(network, _images(8, shape))
    return network.double()


def _images(number: int, shape: tuple[int, ...] = SHAPE, seed: int = 1) -> Tensor:
    return torch.randn(number, *shape, generator=torch.Generator().manual_seed(seed))


def network_of(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name, options, 10, SHAPE)


def same(network: nn.Module, folder: Path, shape: tuple[int, ...] = SHAPE) -> bool:
    """Whether integers, by way of their files, answer as the module does."""
    images = _images(3, shape, seed=2)
    integer_files.write(IntegerNetwork(network, integer_layers(network)), folder, shape, {})
    found = IntegerNetwork(network, integer_files.read(folder))(images)
    with torch.no_grad():
        wanted = network(images.double())
    assert len(wanted.unique()) > 3
    return torch.equal(found, wanted)


NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet20": ("cifar_resnet", {"depth": 20}),
    "mobilenet_v2": ("mobilenet_v2", {"stem": "cifar"}),
    "darknet19": ("darknet", {"stem": "cifar"}),
    "densenet": ("densenet", {"depth": 13}),
    "preact_resnet": ("preact_resnet", {}),
}


@pytest.mark.parametrize("key", NETWORKS)
def test_a_whole_network_in_integers_is_its_module_in_float64(key: str, tmp_path: Path) -> None:
    name, options = NETWORKS[key]
    assert same(made(network_of(name, **options)), tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"weight_bits": 16, "act_bits": 16, "bias_bits": 16},
        {"weight_bits": 3, "act_bits": 2, "output_bits": 4, "bias_bits": 2},
        {"saturate": False, "output_bits": 8},
    ],
)
def test_so_it_is_with_few_bits_and_with_many(settings: dict[str, Any], tmp_path: Path) -> None:
    assert same(made(network_of("cifar_resnet", depth=8), **settings), tmp_path)


def test_bits_of_a_plan_are_those_of_the_integers(tmp_path: Path) -> None:
    bits = {"conv1": LayerPlan(5, 6), "linear": LayerPlan(32, 4)}
    network = made(network_of("cifar_resnet", depth=8), bits=bits, weight_bits=7, plan_bits=True)
    layers = integer_layers(network)
    assert (layers["conv1"].weight.bits, layers["conv1"].input.bits) == (5, 6)
    assert (layers["linear"].weight.bits, layers["linear"].input.bits) == (7, 4)
    assert int(layers["conv1"].weights.abs().max()) <= 16
    assert same(network, tmp_path)
    assert dict(integer_files.read(tmp_path)).keys() == layers.keys()


def test_one_bit_of_a_plan_is_refused() -> None:
    with pytest.raises(UserError, match=r"fixed_point.plan_bits: weight_bits of the layer conv1 are 1 in the plan"):
        made(network_of("cifar_resnet", depth=8), bits={"conv1": LayerPlan(1, 8)}, plan_bits=True)


class Rare(nn.Module):
    """A layer that is used twice, one that is never used, groups, dilation, a bias, and a linear layer along the last dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 6, 3, padding="same", dilation=2)
        self.two = nn.Conv2d(6, 6, (1, 3), stride=(2, 1), padding=(0, 1), groups=2)
        self.never = nn.Conv2d(3, 3, 1)
        self.last = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.one(x))
        y = self.two(functional.leaky_relu(self.two(y), 0.25))
        return self.last(y.flatten(2).mean(2).relu())


def test_layers_that_few_networks_have(tmp_path: Path) -> None:
    network = made(Rare(), (3, 9, 9))
    assert "never" not in integer_layers(network)
    assert same(network, tmp_path, (3, 9, 9))


class Named(nn.Module):
    """Each part but the last has two names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(144, 5)
        self.clip, self.also = nn.ReLU6(), nn.Conv2d(4, 4, 1)
        self.body = nn.Sequential(self.conv, self.clip, self.also, nn.ReLU(), self.norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x).flatten(1))


@pytest.mark.parametrize("equalized", [False, True])
def test_a_part_under_two_names_is_an_integer_one_under_both(equalized: bool, tmp_path: Path) -> None:
    network = made(Named(), (3, 8, 8), equalize=equalized)
    assert list(integer_layers(network)) == ["conv", "norm", "last", "also"]
    assert same(network, tmp_path, (3, 8, 8))
    found: Any = IntegerNetwork(network, integer_layers(network))._model
    assert found.body[0] is found.conv and found.body[4] is found.norm and found.body[1] is found.clip
    assert isinstance(found.clip, ClippedReLU) is equalized
    assert integer_problem(Named(), (3, 8, 8)) is None


def test_a_layer_used_twice_has_grids_for_either_use(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = made(Again(), (3, 9, 9))
    assert integer_layers(network)["twice"].input.signed
    assert same(network, tmp_path, (3, 9, 9))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_other_than_zeros_is_the_layers_own(mode: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode=mode), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5))
    network = made(model, (3, 8, 8), weight_bits=16, act_bits=16)
    assert same(network, tmp_path, (3, 8, 8))
    assert json.loads((tmp_path / "integers.json").read_text())["layers"][0]["padding_mode"] == mode
    images = _images(3, (3, 8, 8), seed=2).double()
    with torch.no_grad():
        assert torch.allclose(network(images), shaken(model)(images), atol=0.01)


@pytest.mark.parametrize("output_bits", [4, 6, 8])
def test_a_relu6_has_its_bound_behind_sums_on_a_grid_that_has_not(output_bits: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.Flatten(), nn.Linear(144, 5))
    nn.init.normal_(model[0].weight, std=30.0)
    network = made(model, (3, 8, 8), output_bits=output_bits)
    assert integer_layers(network)["0"].output.fraction_length < -1  # type: ignore[union-attr]
    assert same(network, tmp_path, (3, 8, 8))


def test_sums_that_can_be_too_wide_are_told_by_layer() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4 * 64, 3))
    with torch.no_grad():
        # Beside a bias so large its grid is coarse, but not the sums.
        model[0].weight.fill_(1e-6)
        model[0].bias.fill_(30.0)
    network = made(model, (3, 8, 8), bias_bits=8)
    with pytest.raises(UserError, match=r"fixed_point: sums of the layer 0 need \d+ bits, \d+ more than 32"):
        integer_layers(network)


def test_float_layers_and_batch_norm_are_told_by_name() -> None:
    network = made(network_of("cifar_resnet", depth=8), merge_batch_norm=False)
    with pytest.raises(UserError) as caught:
        integer_layers(network)
    assert len(caught.value.problems) == 7 and "the batch norm bn1" in caught.value.problems[0]
    with pytest.raises(UserError, match="the layer 0 is float"):
        integer_layers(nn.Sequential(nn.Conv2d(3, 4, 1)))


def test_what_integers_cannot_do_is_told_when_they_come_to_it() -> None:
    network = made(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sigmoid(), nn.Flatten(), nn.Linear(256, 3)), (3, 8, 8))
    with pytest.raises(NoIntegerForm, match="sigmoid has no integer form"):
        IntegerNetwork(network, integer_layers(network))(_images(1, (3, 8, 8)))


class Pooled(nn.Module):
    """Computes with the image before a layer does."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.last = nn.Conv2d(3, 4, 1), nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.one(functional.avg_pool2d(x, 2) * 2 - 1).flatten(1))


def test_layers_read_the_image_as_it_is_or_moved() -> None:
    network = made(Pooled(), (3, 8, 8))
    with pytest.raises(NoIntegerForm, match="one reads what is neither the image nor made by a layer"):
        IntegerNetwork(network, integer_layers(network))(_images(1, (3, 8, 8)))
    network = made(nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 5)), (3, 8, 8))
    rows = IntegerNetwork(network, integer_layers(network)).operations((3, 8, 8))
    assert [row["operation"] for row in rows] == ["image", "flatten", "layer", "relu", "layer"]
    assert [row["inputs"] for row in rows] == [[], [0], [1], [2], [3]] and "fraction_length" not in rows[1]


def test_a_quantised_network_is_taken_as_its_grids_say() -> None:
    model = network_of("cifar_resnet", depth=8)
    quantize(model, "conv1", LayerPlan(2, 32), "lsq", {})
    layer: Any = model.get_submodule("conv1")
    layer.weight_quantizer.calibrate(layer.weight.detach())
    found: Any = as_float(model).get_submodule("conv1")
    assert type(found) is nn.Conv2d and torch.equal(found.weight, layer.weight_quantizer(layer.weight))
    assert type(layer) is not nn.Conv2d


@pytest.mark.parametrize("settings", [{}, {"equalize": True}, {"merge_batch_norm": False}])
def test_what_is_sparse_is_so_after_training_on_the_grids(settings: dict[str, Any]) -> None:
    model = network_of("mobilenet_v1", stem="cifar", width=0.25)
    names = [name for name, part in model.named_modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    for name in names[1:]:
        quantize(model, name, LayerPlan(8, 8, 0.5), "lsq", {})
    network = fixed_point(shaken(model).float(), SHAPE, FixedPointSpec(**settings)).requires_grad_(True)
    calibrate(network, _images(8))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    before = {name: weight_integers(layer) for name, layer in fixed_layers(network).items()}
    for _ in range(3):
        optimizer.zero_grad()
        network(_images(8)).square().mean().backward()
        optimizer.step()
    after = {name: weight_integers(layer) for name, layer in fixed_layers(network).items()}
    assert any(not torch.equal(after[name], before[name]) for name in names)
    assert all(float((after[name] == 0).double().mean()) >= 0.49 for name in names[1:])
    assert "weight_mask" in dict(network.get_submodule(names[1]).named_buffers()), "load_state_dict brings it back"


def test_by_the_loss_steps_change_only_where_it_gets_smaller() -> None:
    model, images = shaken(network_of("cifar_resnet", depth=8)).float(), _images(8)
    wanted = model(images).detach()
    found = []
    for criterion in (False, True):
        network = fixed_point(model, SHAPE, FixedPointSpec(weight_bits=4, act_bits=4))

        def loss(one: nn.Module) -> float:
            return float((one(images) - wanted).square().mean())

        calibrate(network, images, loss if criterion else None)
        found.append((loss(network), [float(grid.step) for _, grid in _grids(network)]))
    assert found[1][0] < found[0][0] and found[1][1] != found[0][1]


@pytest.mark.parametrize("saturate", [True, False])
def test_by_the_loss_steps_are_halved_only_where_they_may_clip(saturate: bool) -> None:
    network = fixed_point(network_of("cifar_resnet", depth=8), SHAPE, FixedPointSpec(saturate=saturate))
    calibrate(network, _images(8))
    before = [float(grid.step) for _, grid in _grids(network)]

    def loss(one: nn.Module) -> float:
        return sum(float(grid.step) for _, grid in _grids(one))

    calibrate(network, _images(8), loss)
    halved = [float(grid.step) / step for step, (_, grid) in zip(before, _grids(network), strict=True)]
    assert halved == [0.5 if saturate else 1.0] * len(before)


def _grids(network: nn.Module) -> list[tuple[str, Any]]:
    return [(name, layer.weight_quantizer) for name, layer in fixed_layers(network).items()]


@pytest.mark.parametrize(
    ("name", "options", "settings"),
    [("cifar_resnet", {"depth": 8}, {}), ("mobilenet_v2", {"stem": "cifar", "width": 0.25}, {"equalize": True})],
)
def test_a_state_dict_brings_the_whole_network_back(
    name: str, options: dict[str, Any], settings: dict[str, Any]
) -> None:
    network = made(network_of(name, **options), **settings)
    again = fixed_point(network_of(name, **options), SHAPE, FixedPointSpec(**settings))
    again.load_state_dict(network.state_dict())
    images = _images(2).double()
    assert torch.equal(again.double()(images), network(images))


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2"])
def test_equalised_and_corrected_it_is_nearer_to_float_and_still_exact(name: str, tmp_path: Path) -> None:
    model = shaken(network_of(name, stem="cifar", width=0.25)).float()
    images, fresh = _images(32), _images(16, seed=5)
    errors = {}
    for key, settings in {
        "plain": {}, "equalised": {"equalize": True}, "both": {"equalize": True, "correct_bias": True},
    }.items():  # fmt: skip
        network = fixed_point(model, SHAPE, FixedPointSpec(weight_bits=5, **settings))
        calibrate(network, images, correct_bias=bool(settings.get("correct_bias")))
        with torch.no_grad():
            errors[key] = float((network(fresh) - model(fresh)).square().mean())
    assert errors["both"] < errors["equalised"] < errors["plain"]
    assert same(network.double(), tmp_path)
