"""A network of one's own: a module with a function that makes it. pqsearch needs nothing else from it."""

from torch import nn


def make(classes: int, width: int = 24) -> nn.Module:
    def block(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    body = [*block(1, width), *block(width, width), nn.MaxPool2d(2), *block(width, 2 * width), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(2 * width, classes))
