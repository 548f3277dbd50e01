"""LeNet-5 (LeCun et al., Proceedings of the IEEE 1998, section II.B) as it is trained today: ReLU and max pooling."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from trainers.models._parts import initialise

#: What the last pooling is brought to; images of 32 pixels come with it.
SIDE = 5


class LeNet(nn.Module):
    """Two 5x5 convolutions with poolings, and three linear layers."""

    def __init__(self, classes: int, in_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.pool = nn.AdaptiveMaxPool2d(SIDE)
        self.fc1 = nn.Linear(16 * SIDE * SIDE, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = self.pool(functional.relu(self.conv2(x))).flatten(1)
        return self.fc3(functional.relu(self.fc2(functional.relu(self.fc1(x)))))


def build(classes: int, in_channels: int) -> nn.Module:
    """LeNet-5 for images of 24 pixels and more; the network is the paper's at 32."""
    return initialise(LeNet(classes, in_channels))
