"""A network in memory, written down as code and built again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pqsearch.errors import UserError
from tests.trainers import nets
from trainers.as_code import rebuilt, source_of


def _again(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    return rebuilt(source_of(model, shape), model)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("resnet18", 64), ("mobilenet_v3_small", 64), ("efficientnet_b0", 64), ("regnet_y_400mf", 64), ("densenet121", 64),
        ("shufflenet_v2_x0_5", 64), ("squeezenet1_1", 64), ("convnext_tiny", 64),
    ],
)  # fmt: skip
def test_networks_of_torchvision_come_back_as_they_were(name: str, side: int) -> None:
    from torchvision import models

    model = models.get_model(name, weights=None, num_classes=7)
    found = _again(model, (3, side, side))
    assert found.state_dict().keys() == model.state_dict().keys()
    images = torch.randn(4, 3, side, side)
    for mode in (True, False):
        model.train(mode), found.train(mode)
        for net in (model, found):
            for module in net.modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0
        torch.manual_seed(0)
        wanted = model(images)
        torch.manual_seed(0)
        torch.testing.assert_close(found(images), wanted)


@pytest.mark.parametrize("name", nets.NETS)
def test_networks_of_every_shape_come_back(name: str) -> None:
    model, shape = nets.make(name)
    images = torch.randn(2, *shape)
    torch.testing.assert_close(_again(model, shape).eval()(images), model(images))


class Settings(nn.Module):
    """Layers whose own words leave something out, a parameter and a buffer of its own, and dropout by function."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding="same", padding_mode="reflect")
        self.pool = nn.AvgPool2d(3, 2, 1, count_include_pad=False, ceil_mode=True)
        self.up = nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=True)
        self.scale = nn.Parameter(torch.rand(4, 1, 1))
        self.register_buffer("shift", torch.rand(4, 1, 1))
        self.unused = nn.Linear(3, 3)
        self.head = nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.up(self.pool(self.conv(images) * self.scale + self.shift))
        return self.head(functional.dropout(x.mean((2, 3)), 0.5, training=self.training))


def test_what_a_layer_does_not_say_of_itself_is_kept_and_what_is_not_used_is_left_out() -> None:
    torch.manual_seed(0)
    model = Settings()
    found = _again(model, (3, 9, 9))
    images = torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(found.eval()(images), model.eval()(images))
    assert set(model.state_dict()) - set(found.state_dict()) == {"unused.weight", "unused.bias"}
    assert not torch.equal(found.train()(images), found.train()(images)), "dropout follows the mode"


class Deciding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)[:, :4]
        return self.head(x) if x.sum() > 0 else self.head(-x)


class OnlyTraining(Deciding):
    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x.flatten(1)[:, :4])
        return functional.relu(x) if self.training else x


class OfItsOwn(Deciding):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1)[:, :4]) + torch.tensor([1.0, 2.0])


class Unsaved(Deciding):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.ones(2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1)[:, :4]) + self.shift


class Attentive(Deciding):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)[:, :4]
        return self.head(self.attention(x, x, x)[0])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Deciding, "symbolically traced variables cannot be used as inputs to control flow"),
        (OnlyTraining, "it takes another way while it trains"),
        (OfItsOwn, "_tensor_constant0 is made while it runs"),
        (Unsaved, "shift is a tensor that its state dict does not hold"),
        (Attentive, "MultiheadAttention does not say how it is made"),
    ],
)
def test_what_cannot_be_written_down_is_refused_with_a_way_out(kind: type[nn.Module], words: str) -> None:
    with pytest.raises(UserError) as caught:
        source_of(kind(), (1, 2, 2))
    (line,) = caught.value.problems
    assert line.startswith("model: cannot be written down (") and words in line
    assert line.endswith("write a function that makes it and name it in [model] name")
