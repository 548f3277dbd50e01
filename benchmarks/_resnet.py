"""CIFAR ResNets with option-A shortcuts as the search sees them, put together without torch."""

from __future__ import annotations

from pqsearch.plan import GroupInfo, LayerInfo, ModelInfo, NormInfo, Source

STAGES = ((16, 32), (32, 16), (64, 8))  # channels, height = width


def resnet_info(depth: int, classes: int = 10) -> ModelInfo:
    """`depth` is 6n + 2. Residual streams cannot be pruned (option A pads them with zeros), inner convolutions can."""
    blocks = (depth - 2) // 6
    groups: list[GroupInfo] = []
    layers: list[LayerInfo] = []
    norms: list[NormInfo] = []

    def add_group(name: str, channels: int, prunable: bool) -> int:
        groups.append(GroupInfo(name, channels, 1, (name,), prunable, "" if prunable else "option-A residual stream"))
        return len(groups) - 1

    def add_conv(name: str, source: Source, inputs: int, output: int, outputs: int, size: tuple[int, int]) -> None:
        before, after = size[0] ** 2, size[1] ** 2
        layers.append(LayerInfo(name, "conv", (source,), output, inputs, outputs, 9, 1, before, after, False))
        norms.append(NormInfo(name.replace("conv", "bn"), (Source(output, outputs),), 2, 2))

    stream = add_group("conv1", STAGES[0][0], False)
    add_conv("conv1", Source(-1, 3), 3, stream, STAGES[0][0], (32, 32))
    width, size = STAGES[0]
    for stage, (channels, side) in enumerate(STAGES, start=1):
        for block in range(blocks):
            name = f"layer{stage}.{block}.conv"
            inner = add_group(f"{name}1", channels, True)
            add_conv(f"{name}1", Source(stream, width), width, inner, channels, (size, side))
            if width != channels:
                stream = add_group(f"{name}2", channels, False)
            add_conv(f"{name}2", Source(inner, channels), channels, stream, channels, (side, side))
            width, size = channels, side
    head = add_group("linear", classes, False)
    layers.append(LayerInfo("linear", "linear", (Source(stream, width),), head, width, classes, 1, 1, 1, 1, True))
    return ModelInfo(tuple(layers), tuple(groups), tuple(norms), 0, (3, 32, 32))
