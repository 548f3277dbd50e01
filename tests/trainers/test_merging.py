"""Batch norm goes into the layer beside it where that changes nothing, and stays where it would."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.trainers.small import difference, shaken
from trainers.merging import Merged, merge_batch_norm


def merged(model: nn.Module, shape: tuple[int, ...] = (3, 8, 8)) -> Merged:
    """After checking that the outputs are the same and the original is as it was."""
    model = shaken(model)
    before = copy.deepcopy(model.state_dict())
    found = merge_batch_norm(model, shape)
    assert difference(model, found.model, shape) < 1e-12
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    norms = [name for name, part in found.model.named_modules() if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d))]
    assert norms == list(found.left)
    return found


def _net(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(*parts, nn.Flatten(), nn.LazyLinear(5))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_behind_a_convolution(bias: bool, groups: int) -> None:
    model = _net(nn.Conv2d(6, 12, 3, padding=1, groups=groups, bias=bias), nn.BatchNorm2d(12), nn.ReLU(inplace=True))
    model(torch.rand(1, 6, 8, 8))
    found = merged(model, (6, 8, 8))
    assert found.into == {"1": "0"} and not found.left


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 3])
def test_ahead_of_a_convolution_without_padding(bias: bool, groups: int) -> None:
    model = _net(nn.ReLU(), nn.BatchNorm2d(6), nn.Conv2d(6, 12, 3, groups=groups, bias=bias))
    model(torch.rand(1, 6, 8, 8))
    assert merged(model, (6, 8, 8)).into == {"1": "2"}


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_ahead_of_a_convolution_that_pads_with_zeros_it_stays(mode: Any) -> None:
    model = _net(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding=1, padding_mode=mode))
    model(torch.rand(1, 3, 8, 8))
    found = merged(model)
    assert found.left == ({"0": "1 pads its output with zeros"} if mode == "zeros" else {})


def test_beside_a_linear_layer_on_either_side() -> None:
    parts = [
        nn.Flatten(),
        nn.BatchNorm1d(12),
        nn.Linear(12, 9),
        nn.ReLU(),
        nn.Linear(9, 7, bias=False),
        nn.BatchNorm1d(7),
    ]
    assert merged(nn.Sequential(*parts), (3, 2, 2)).into == {"1": "2", "5": "4"}


def test_a_norm_without_scale_and_shift() -> None:
    model = _net(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False))
    model(torch.rand(1, 3, 8, 8))
    assert merged(model).into == {"1": "0"}


class _Reader(nn.Module):
    """The norm is not the only one that reads the convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.head((x + functional.relu(self.norm(x))).mean((2, 3)))


class _Twice(_Reader):
    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)) + self.norm(self.conv(-x))
        return self.head(x.mean((2, 3)))


class _OneLayerTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
        self.one, self.two = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.one(self.conv(x)) + self.two(self.conv(-x))).mean((2, 3)))


class _Between(_Reader):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(functional.relu(self.conv(x))).mean((2, 3)))


class _Active(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(super().forward(x))


@pytest.mark.parametrize(
    ("model", "left"),
    [
        (_Reader(), {"norm": "conv is read by others, too"}),
        (_Twice(), {"norm": "is not used once in a forward pass"}),
        (_Between(), {"norm": "no layer stands directly before or behind it"}),
        (
            nn.Sequential(nn.Conv2d(3, 4, 8), _Active(4), nn.Flatten()),
            {"1": "is a _Active, which computes something else than batch norm"},
        ),
    ],
)
def test_where_it_would_change_something_it_stays_and_says_why(model: nn.Module, left: dict[str, str]) -> None:
    assert merged(model).left == left


class _Unseen(_Reader):
    """A gate reads the convolution without gradients; another norm stands behind a layer that nothing else reads."""

    def __init__(self, read: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.also, self.last, self.read = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), read

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = self.norm(x) * self.read(x)
        return self.head(self.last(self.also(x)).mean((2, 3)))


def _without_gradients(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x.mean((2, 3), keepdim=True).sigmoid()


@pytest.mark.parametrize("read", [lambda x: x.detach().tanh(), _without_gradients, lambda x: (x > 0.1).to(x)])
def test_a_layer_that_is_read_without_gradients_keeps_its_norm_alone(read: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    found = merged(_Unseen(read))
    assert found.into == {"last": "also"}
    assert found.left == {
        "norm": "cannot go into conv without a change: something reads between them where no gradients go"
    }


class _Single(nn.Module):
    """Insists on single precision."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x.float())).flatten(1)


def test_a_network_that_insists_on_single_precision_is_tried_in_it() -> None:
    assert merge_batch_norm(shaken(_Single()).float(), (3, 8, 8)).into == {"norm": "conv"}


def test_a_layer_that_two_norms_follow_keeps_both() -> None:
    found = merged(_OneLayerTwice())
    assert not found.into
    assert found.left.keys() == {"one", "two"}


def test_batch_statistics_stay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 7), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten()).double()
    found = merge_batch_norm(model.eval(), (3, 8, 8))
    assert found.left == {"1": "has no running statistics: it normalises by each batch"}


class _Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4)
        self.also = self.norm

    def forward(self, x: Tensor) -> Tensor:
        return self.also(self.conv(x)).flatten(1)


def test_a_norm_under_two_names_goes_from_both() -> None:
    found = merged(_Named())
    assert found.into == {"norm": "conv"}
    assert isinstance(found.model.also, nn.Identity) and isinstance(found.model.norm, nn.Identity)


def test_single_precision_is_merged_in_double() -> None:
    model = shaken(nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.Flatten()))
    single = merge_batch_norm(copy.deepcopy(model).float(), (3, 8, 8)).model
    with torch.no_grad():
        for name, wanted in merge_batch_norm(model, (3, 8, 8)).model.named_parameters():
            found = single.get_parameter(name)
            assert found.dtype == torch.float
            assert torch.allclose(found.double(), wanted, rtol=1e-6, atol=1e-7)
