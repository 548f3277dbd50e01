from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pqsearch.errors import UserError
from pqsearch.plan import FIXED, GroupInfo, LayerInfo, ModelInfo, Source
from tests.trainers.nets import NETS, make
from trainers.layers import trace


def _info(name: str) -> ModelInfo:
    return trace(*make(name)).info


def _layer(info: ModelInfo, name: str) -> LayerInfo:
    return next(layer for layer in info.layers if layer.name == name)


def _group(info: ModelInfo, name: str) -> GroupInfo:
    return next(group for group in info.groups if group.name == name)


@pytest.mark.parametrize("name", NETS)
def test_sources_cover_every_input_channel_and_the_classifier_is_never_prunable(name: str) -> None:
    info = _info(name)
    assert len(info.layers) >= 5
    for layer in info.layers:
        assert sum(source.channels * source.repeat for source in layer.inputs) == layer.in_channels
        if layer.output != FIXED:
            assert info.groups[layer.output].channels == layer.out_channels
            assert layer.name in info.groups[layer.output].layers
    last = info.groups[info.layers[-1].output]
    assert not last.prunable and "outputs" in last.reason
    assert any(group.prunable for group in info.groups)
    assert all(group.reason for group in info.groups if not group.prunable)


def test_the_layers_survive_json() -> None:
    info = _info("concat_flatten")
    assert ModelInfo.from_json(info.to_json()) == info


def test_option_a_streams_stay_whole_and_inner_convolutions_do_not() -> None:
    info = _info("cifar_resnet_a")
    stream = _group(info, "conv1")
    assert not stream.prunable and "option-A" in stream.reason
    assert {"layer1.0.conv2", "layer2.0.conv2", "layer3.2.conv2"} <= set(stream.layers)
    inner = [group for group in info.groups if group.prunable]
    assert sorted(group.name for group in inner) == [f"layer{s}.{b}.conv1" for s in (1, 2, 3) for b in range(3)]


def test_a_residual_sum_is_one_group_of_all_that_write_it() -> None:
    info = _info("cifar_resnet_b")
    assert _group(info, "layer2.0.conv2").layers == (
        "layer2.0.conv2", "layer2.0.shortcut.0", "layer2.1.conv2", "layer2.2.conv2",
    )  # fmt: skip


def test_a_concat_has_one_source_per_part_and_a_flatten_repeats_its_channels() -> None:
    info = _info("concat_flatten")
    left, right = (info.groups.index(_group(info, name)) for name in ("left", "right"))
    assert _layer(info, "hidden").inputs == (Source(left, 6, 16), Source(right, 10, 16))
    prelu = next(norm for norm in info.norms if norm.name == "prelu")
    assert prelu.inputs == (Source(left, 6), Source(right, 10)) and prelu.params_per_channel == 1


def test_a_layer_that_runs_twice_counts_its_positions_twice() -> None:
    twice = _layer(_info("concat_flatten"), "twice")
    assert (twice.in_size, twice.out_size) == (2 * 64, 2 * 64)


def test_groups_around_grouped_convolutions_lose_a_channel_of_each_of_their_groups() -> None:
    info = _info("grouped")
    assert [(group.name, group.unit) for group in info.groups if group.unit > 1] == [
        ("first.0", 4), ("first.3", 4), ("second.0", 4), ("second.3", 4),
    ]  # fmt: skip


def test_a_depthwise_convolution_belongs_to_the_group_it_reads() -> None:
    info = _info("mobilenet_v2")
    layer = _layer(info, "features.2.conv.1.0")
    assert layer.groups == layer.in_channels == layer.out_channels
    assert layer.inputs[0].group == layer.output


def test_tracing_changes_neither_the_model_nor_the_random_numbers() -> None:
    model, shape = make("digits_net")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    trace(model.train(), shape)
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


class _Net(nn.Module):
    """A stem, `body` between, and a classifier of 8 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.mid = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def body(self, x: Tensor) -> Tensor:
        return self.mid(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.relu(self.last(self.body(functional.relu(self.stem(x))))).mean([2, 3]))


class _Shuffled(_Net):
    def body(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return self.mid(x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))


class _Split(_Net):
    def __init__(self) -> None:
        super().__init__()
        self.mid = nn.Conv2d(4, 8, 1)

    def body(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 1)
        return self.mid(functional.relu(first)) + self.mid(second)


class _Scaled(_Net):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1, 8, 1, 1))

    def body(self, x: Tensor) -> Tensor:
        return self.mid(x * self.scale)


class _DepthwiseAfterConcat(_Net):
    def __init__(self) -> None:
        super().__init__()
        self.mid = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.side = nn.Conv2d(8, 8, 1)
        self.last = nn.Conv2d(16, 8, 1)

    def body(self, x: Tensor) -> Tensor:
        return self.mid(torch.cat([x, self.side(x)], 1))


class _GroupNormed(_Net):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(2, 8)

    def body(self, x: Tensor) -> Tensor:
        return self.mid(self.norm(x))


class _OneReaderOfAll(_Net):
    """A convolution whose groups each turn one channel into several."""

    def __init__(self) -> None:
        super().__init__()
        self.mid = nn.Conv2d(8, 16, 1, groups=8)
        self.last = nn.Conv2d(16, 8, 1)


@pytest.mark.parametrize("net", [_Shuffled, _Split, _Scaled, _DepthwiseAfterConcat, _GroupNormed, _OneReaderOfAll])
def test_a_group_that_something_odd_touches_stays_whole_and_the_rest_does_not(net: type[_Net]) -> None:
    torch.manual_seed(0)
    info = trace(net(), (3, 8, 8)).info
    stem = _group(info, "stem")
    assert not stem.prunable and stem.reason
    assert _group(info, "last").prunable


def test_a_network_that_torch_pruning_cannot_follow_can_still_be_quantised() -> None:
    from torchvision.models import shufflenet_v2_x0_5

    info = trace(shufflenet_v2_x0_5(weights=None), (3, 32, 32)).info
    assert len(info.layers) > 50
    assert not any(group.prunable for group in info.groups)
    assert "cannot be followed" in info.groups[0].reason


class _NormOnImages(_Net):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.norm(x))


def test_a_norm_on_the_image_is_listed_with_fixed_channels() -> None:
    info = trace(_NormOnImages(), (3, 8, 8)).info
    assert info.norms[0].inputs == (Source(FIXED, 3),)
    assert info.other_params == 0


class _Own(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * 2


def _with(**modules: nn.Module) -> nn.Module:
    model = _Net()
    for name, module in modules.items():
        setattr(model, name, module)
    return model


def _shared() -> nn.Module:
    model = _Net()
    model.mid.weight = nn.Parameter(torch.rand(8, 8, 1, 1))
    model.last.weight = model.mid.weight
    return model


@pytest.mark.parametrize(
    ("model", "shape", "words"),
    [
        (nn.Sequential(nn.Flatten(), nn.ReLU()), (3, 8, 8), "no convolution or linear layer"),
        (nn.Sequential(nn.Flatten(), nn.Linear(10, 5)), (3, 8, 8), "cannot be traced: its forward pass on an image"),
        (nn.Conv2d(3, 8, 1), (3, 8, 8), r"shape \(batch, classes\), got \(1, 8, 8, 8\)"),
        (_with(mid=_Own(8, 8, 1)), (3, 8, 8), "mid .* in its own way; use a plain torch.nn.Conv2d"),
        (_shared(), (3, 8, 8), "mid and last share one weight"),
    ],
)
def test_a_model_that_cannot_be_searched_is_refused_in_words(
    model: nn.Module, shape: tuple[int, ...], words: str
) -> None:
    with pytest.raises(UserError, match=f"^model: .*{words}"):
        trace(model, shape)


def test_gradients_may_be_off() -> None:
    model, shape = make("digits_net")
    with torch.no_grad():
        assert trace(model, shape).info == trace(model, shape).info
        assert any(group.prunable for group in trace(model, shape).info.groups)
