"""Models as the search sees them, small enough to count by hand, and random ones with every kind of coupling."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import strategies as st

from pqsearch.plan import FIXED, GroupInfo, LayerInfo, ModelInfo, NormInfo, Source
from pqsearch.problem import IntArray
from search_spaces.space import Space

IMAGE = Source(FIXED, 3)


def conv(
    name: str, inputs: tuple[Source, ...], output: int, channels: int, kernel: int, groups: int, size: int, bias: bool
) -> LayerInfo:
    """A convolution that keeps its `size` positions."""
    read = sum(source.channels * source.repeat for source in inputs)
    return LayerInfo(name, "conv", inputs, output, read, channels, kernel, groups, size, size, bias)


def tangled() -> ModelInfo:
    """Depthwise, grouped, concat and flatten on 8x8 images.

    image -> stem -> depthwise -> grouped -+
    image -> side -------------------------+- concat, norm, pool to 4x4, flatten -> head
    """
    both = (Source(1, 6), Source(2, 2))
    layers = (
        conv("stem", (IMAGE,), 0, 4, 9, 1, 64, False),
        conv("depthwise", (Source(0, 4),), 0, 4, 9, 4, 64, False),
        conv("grouped", (Source(0, 4),), 1, 6, 9, 2, 64, False),
        conv("side", (IMAGE,), 2, 2, 1, 1, 64, True),
        LayerInfo("head", "linear", (Source(1, 6, 16), Source(2, 2, 16)), 3, 128, 5, 1, 1, 1, 1, True),
    )
    groups = (
        GroupInfo("stem", 4, 2, ("stem", "depthwise"), True),
        GroupInfo("grouped", 6, 2, ("grouped",), True),
        GroupInfo("side", 2, 1, ("side",), True),
        GroupInfo("head", 5, 1, ("head",), False, "outputs of the network"),
    )
    norms = (NormInfo("stem_norm", (Source(0, 4),), 2, 2), NormInfo("norm", both, 2, 2))
    return ModelInfo(layers, groups, norms, 7, (3, 8, 8))


def chain(channels: tuple[int, ...] = (8, 16, 16), classes: int = 5, size: int = 16) -> ModelInfo:
    """Convolutions one after the other, each with a norm, and a linear classifier on the pooled channels."""
    layers, groups, norms = [], [], []
    source = IMAGE
    for index, width in enumerate(channels):
        name = f"conv{index}"
        layers.append(conv(name, (source,), index, width, 9, 1, size, False))
        groups.append(GroupInfo(name, width, 1, (name,), True))
        source = Source(index, width)
        norms.append(NormInfo(f"norm{index}", (source,), 2, 2))
    layers.append(LayerInfo("head", "linear", (source,), len(channels), channels[-1], classes, 1, 1, 1, 1, True))
    groups.append(GroupInfo("head", classes, 1, ("head",), False, "outputs of the network"))
    return ModelInfo(tuple(layers), tuple(groups), tuple(norms), 0, (3, 4, 4))


@st.composite
def infos(draw: st.DrawFn, most_layers: int = 4) -> ModelInfo:
    """Random networks: residual sums, depthwise and grouped convolutions, concats, fixed streams, flattened heads."""
    layers: list[LayerInfo] = []
    groups: list[list[str]] = []
    widths: list[tuple[int, int, bool]] = []  # channels, unit, prunable
    tensors: list[tuple[Source, ...]] = [(IMAGE,)]
    size = draw(st.sampled_from([4, 9]))
    for index in range(draw(st.integers(1, most_layers))):
        name = f"conv{index}"
        inputs = draw(st.sampled_from(tensors))
        kernel = draw(st.sampled_from([1, 9]))
        shape = draw(st.sampled_from(["new", "shared", "depthwise", "grouped"]))
        source = inputs[0]
        single = len(inputs) == 1 and source.group != FIXED
        if shape == "depthwise" and single:
            output, channels, split = source.group, source.channels, source.channels
        elif shape == "shared" and widths:
            output = draw(st.integers(0, len(widths) - 1))
            channels, split = widths[output][0], 1
        else:
            # A grouped convolution ties its input's channels together too.
            split = 2 if shape == "grouped" and single and source.channels % 2 == 0 else 1
            if split > 1:
                channels_in, _, prunable = widths[source.group]
                widths[source.group] = (channels_in, 2, prunable)
            output, channels = len(widths), draw(st.sampled_from([2, 4, 6, 8]))
            widths.append((channels, split, draw(st.integers(0, 3)) > 0))
            groups.append([])
        groups[output].append(name)
        layers.append(conv(name, inputs, output, channels, kernel, split, size, draw(st.booleans())))
        tensors.append((Source(output, channels),))
        if draw(st.booleans()) and len(tensors) > 2:
            tensors.append((*tensors[-1], *tensors[-2]))
    repeat = draw(st.sampled_from([1, 4]))
    head = tuple(Source(source.group, source.channels, repeat) for source in tensors[-1])
    read = sum(source.channels * source.repeat for source in head)
    layers.append(LayerInfo("head", "linear", head, len(widths), read, 3, 1, 1, 1, 1, True))
    table = [
        GroupInfo(names[0], channels, unit, tuple(names), prunable and channels >= 2 * unit, "drawn")
        for names, (channels, unit, prunable) in zip(groups, widths, strict=True)
    ]
    table.append(GroupInfo("head", 3, 1, ("head",), False, "outputs of the network"))
    norms = tuple(
        NormInfo(f"norm{index}", inputs, 2, 2) for index, inputs in enumerate(tensors[1:]) if draw(st.booleans())
    )
    return ModelInfo(tuple(layers), tuple(table), norms, draw(st.sampled_from([0, 11])), (3, 4, 4))


def random_genes(space: Space, plans: int, seed: int = 0) -> IntArray:
    """Uniform genes (plans, knobs)."""
    draw = np.random.default_rng(seed)
    return np.stack([draw.integers(0, levels, plans) for levels in space.levels], axis=1)


def every_plan(space: Space) -> IntArray:
    """All genes of a small space."""
    return np.array(list(product(*map(range, space.levels))), dtype=np.int64)
