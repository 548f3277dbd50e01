"""Small networks, one for every way in which channels can be tied together."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from pqsearch.plan import LayerPlan, ModelInfo, Plan
from trainers.build import build_model


class ConcatFlatten(nn.Module):
    """Two branches side by side, a reused convolution, biases, and a flatten that gives every channel 16 features."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.twice = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.left = nn.Conv2d(8, 6, 3, padding=1)
        self.right = nn.Conv2d(8, 10, 1)
        self.prelu = nn.PReLU(16)
        self.hidden = nn.Linear(16 * 4 * 4, 20)
        self.norm = nn.BatchNorm1d(20)
        self.head = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.stem(x))
        x = functional.relu(self.twice(functional.relu(self.twice(x))))
        x = self.prelu(torch.cat([self.left(x), self.right(x)], 1))
        x = functional.max_pool2d(x, 2)
        x = self.hidden(x.view(x.size(0), -1))
        return self.head(functional.relu(self.norm(x)))


class Grouped(nn.Module):
    """ResNeXt blocks: 1x1, 3x3 in 4 groups, 1x1, with a projected shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.first = _grouped_block(8, 16, 16)
        self.shortcut = nn.Conv2d(8, 16, 1, bias=False)
        self.second = _grouped_block(16, 24, 16)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = functional.relu(self.first(x) + self.shortcut(x))
        x = functional.relu(self.second(x) + x)
        return self.head(self.flatten(self.pool(x)))


def _grouped_block(before: int, inner: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, inner, 1, bias=False),
        nn.BatchNorm2d(inner),
        nn.ReLU(),
        nn.Conv2d(inner, inner, 3, padding=1, groups=4, bias=False),
        nn.BatchNorm2d(inner),
        nn.ReLU(),
        nn.Conv2d(inner, after, 1, bias=False),
        nn.BatchNorm2d(after),
    )


class Dense(nn.Module):
    """A dense block: every layer reads all that came before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8 + 6 * i) for i in range(4))
        self.convs = nn.ModuleList(nn.Conv2d(8 + 6 * i, 6, 3, padding=1, bias=False) for i in range(3))
        self.transition = nn.Conv2d(26, 12, 1, bias=False)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for norm, conv in zip(self.norms, self.convs, strict=False):
            features.append(conv(functional.relu(norm(torch.cat(features, 1)))))
        x = functional.relu(self.norms[3](torch.cat(features, 1)))
        return self.head(functional.avg_pool2d(self.transition(x), 2).mean([2, 3]))


Build = Callable[[], nn.Module]


def _named(name: str, shape: tuple[int, ...], **options: object) -> tuple[Build, tuple[int, ...]]:
    return lambda: build_model(name, options, 5, shape), shape


#: Name to (function that builds it, input shape).
NETS: dict[str, tuple[Build, tuple[int, ...]]] = {
    "digits_net": _named("digits_net", (1, 8, 8), width=8),
    "cifar_resnet_a": _named("cifar_resnet", (3, 32, 32), depth=20, shortcut="A"),
    "cifar_resnet_b": _named("cifar_resnet", (3, 32, 32), depth=20, shortcut="B"),
    "mobilenet_v2": _named("torchvision:mobilenet_v2", (3, 32, 32), width_mult=0.25),
    "concat_flatten": (ConcatFlatten, (3, 8, 8)),
    "grouped": (Grouped, (3, 8, 8)),
    "dense": (Dense, (3, 8, 8)),
}


def make(name: str, seed: int = 0) -> tuple[nn.Module, tuple[int, ...]]:
    """A network in eval mode whose batch norms are not the identity, and its input shape."""
    torch.manual_seed(seed)
    build, shape = NETS[name]
    model = build()
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for tensor in (module.weight, module.bias, module.running_mean):
                assert tensor is not None
                tensor.data += 0.2 * torch.rand_like(tensor)
    return model.eval(), shape


def random_plan(info: ModelInfo, seed: int, bits: tuple[int, ...] = (2, 3, 4, 8, 32)) -> Plan:
    """Rates that groups can have, most of them not 0, and bits drawn from `bits`."""
    draw = random.Random(seed)
    groups = {}
    for group in info.groups:
        if group.prunable:
            units = draw.randrange(group.channels // group.unit)
            groups[group.name] = units * group.unit / group.channels
    layers = {layer.name: LayerPlan(draw.choice(bits), draw.choice(bits)) for layer in info.layers}
    return Plan(groups, layers)


def batch(shape: tuple[int, ...], images: int = 4, seed: int = 0) -> Tensor:
    """Random images of `shape`."""
    return torch.randn(images, *shape, generator=torch.Generator().manual_seed(seed))
