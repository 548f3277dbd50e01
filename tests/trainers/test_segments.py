"""A network is cut where one tensor is all that leads on, whatever its classes are called."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.build import build_model
from trainers.heads import with_output
from trainers.segments import segments

SHAPE = (3, 32, 32)


def _layers(model: nn.Module, shape: tuple[int, ...] = SHAPE) -> list[tuple[str, ...]]:
    """Those of each segment, after checking that all segments together are the network."""
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    found = segments(model.eval(), images)
    with torch.no_grad():
        values = images
        for segment in found:
            values = segment(values)
        assert torch.allclose(values, model(images), rtol=1e-5, atol=1e-6)
    return [segment.layers for segment in found]


def test_residual_blocks_with_and_without_a_layer_on_the_shortcut() -> None:
    found = _layers(build_model("cifar_resnet", {"depth": 8, "shortcut": "B"}, 10, SHAPE))
    assert found == [
        ("conv1",),
        ("layer1.0.conv1", "layer1.0.conv2"),
        ("layer2.0.conv1", "layer2.0.conv2", "layer2.0.shortcut.0"),
        ("layer3.0.conv1", "layer3.0.conv2", "layer3.0.shortcut.0"),
        ("linear",),
    ]


def test_inverted_residuals_stay_whole_and_chains_come_apart() -> None:
    found = _layers(build_model("mobilenet_v2", {"stem": "cifar"}, 10, SHAPE))
    whole = [names for names in found if len(names) > 1]
    # Those that have a shortcut: of every stage all but the first.
    assert len(whole) == 10 and all(len(names) == 3 for names in whole)
    assert sum(map(len, found)) == 53


class Own(nn.Module):
    """Branches that are joined, and a layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.one(x))
        y = self.two(functional.max_pool2d(self.two(x), 2))
        z = self.three(functional.avg_pool2d(x, 2))
        return self.head(torch.cat([y, z], 1).mean((2, 3)))


def test_a_users_module() -> None:
    assert _layers(Own(), (3, 9, 9)) == [("one",), ("two", "two", "three"), ("head",)]


def test_what_follows_a_layer_at_its_size_belongs_to_it_and_pooling_to_the_next() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1), nn.Flatten()
    )
    first, second = segments(model.eval(), torch.randn(1, *SHAPE))
    image = torch.randn(1, *SHAPE)
    assert first(image).shape == (1, 4, 32, 32) and bool((first(image) >= 0).all())
    assert second(first(image)).shape == (1, 4 * 256)


class Asks(nn.Module):
    """A forward pass that looks at values."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y if y.sum() > 0 else -y


def test_a_forward_pass_that_looks_at_values_cannot_be_followed() -> None:
    with pytest.raises(ValueError, match="control flow"):
        segments(Asks(), torch.randn(1, *SHAPE))


def test_a_part_that_cannot_be_followed_is_a_part_of_a_segment_and_named() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(Asks(), nn.ReLU()), nn.Flatten(), nn.Linear(4096, 5)).eval()
    told: list[tuple[str, str]] = []
    found = segments(model, torch.randn(1, *SHAPE), lambda *words: told.append(words))
    assert [segment.layers for segment in found] == [("0",), ("1.0.conv",), ("3",)]
    ((name, reason),) = told
    assert name == "1.0" and "control flow" in reason


class Heads(nn.Module):
    """Two outputs, of which the second is computed last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(3, 4, 3), nn.Linear(4, 5), nn.Linear(4, 7)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = functional.relu(self.conv(x)).mean((2, 3))
        return self.one(x), self.two(x), x


@pytest.mark.parametrize(("output", "name"), [(0, "one"), (1, "two")])
def test_of_several_outputs_the_chosen_one_is_what_counts(output: int, name: str) -> None:
    assert _layers(with_output(Heads(), output, SHAPE, "model")) == [("conv",), (name,)]


def test_several_outputs_of_which_none_is_chosen_cannot_be_followed() -> None:
    with pytest.raises(ValueError, match="several outputs"):
        segments(Heads(), torch.randn(1, *SHAPE))


class Scaled(nn.Module):
    """One parameter, read in two places; halves of which only one is worked on; and a statement in place."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(2, 2, 1), nn.Linear(4, 5)
        self.scale = nn.Parameter(torch.full((1,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        x.relu_()
        left, right = (x * self.scale).chunk(2, 1)
        x = torch.cat([left, self.two(right) * self.scale], 1)
        return self.head(x.mean((2, 3)))


def test_a_parameter_may_be_read_twice_and_a_cut_is_never_a_pair_of_tensors() -> None:
    assert _layers(Scaled()) == [("one",), ("two",), ("head",)]


def test_layers_inside_of_what_torch_has_itself_are_found() -> None:
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 8, 8), nn.Flatten(2), nn.Linear(16, 8), encoder, nn.Flatten(), nn.Linear(64, 5)
    )
    assert _layers(model) == [("0",), ("2",), ("3.self_attn.out_proj", "3.linear1", "3.linear2"), ("5",)]


class Again(nn.Module):
    """The same layer behind a ReLU, and behind none."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.twice(self.twice(functional.relu(self.first(x)))).mean((2, 3)))


def test_a_layer_is_in_one_segment_with_all_its_uses() -> None:
    assert _layers(Again()) == [("first",), ("twice", "twice"), ("head",)]


def test_changes_of_the_network_are_changes_of_its_segments() -> None:
    model = build_model("cifar_resnet", {"depth": 8}, 10, SHAPE).eval()
    image = torch.randn(1, *SHAPE)
    first = segments(model, image)[0]
    before = first(image)
    with torch.no_grad():
        model.get_submodule("conv1").weight.mul_(2)  # type: ignore[operator,union-attr]
    assert not torch.equal(first(image), before)
