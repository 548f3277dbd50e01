"""The networks of `trainers/models/` in every build that differs in kind, as small as they come."""

from __future__ import annotations

from typing import Any

#: Options by name of the file. Where nothing makes a network smaller it stands as it is.
SMALL: dict[str, list[dict[str, Any]]] = {
    "bireal_resnet": [{"width": 8}],
    "cifar_resnet": [{"width": 8}, {"width": 8, "shortcut": "B"}],
    "darknet": [
        {"version": "19", "stem": "cifar", "width": 0.25},
        {"version": "53", "stem": "cifar", "width": 0.25},
        {"version": "tiny"},
    ],
    "densenet": [{"depth": 13, "growth": 6}, {"depth": 16, "growth": 6, "bottleneck": True}],
    "digits_net": [{"width": 8}],
    "dpn": [{"depth": 26}],
    "googlenet": [{}],
    "lenet": [{}],
    "mobilenet_v1": [{"width": 0.25}, {"width": 0.25, "stem": "cifar"}],
    "mobilenet_v2": [{"width": 0.25}, {"width": 0.25, "stem": "cifar"}],
    "mobilenet_v3": [{"width": 0.25, "size": size, "stem": "cifar"} for size in ("small", "large")],
    "pnasnet": [{"cell": "A"}, {"cell": "B"}],
    "preact_resnet": [{"depth": 18}, {"depth": 50}],
    "regnet": [{"kind": kind} for kind in "xy"],
    "resnet": [
        {"depth": 18},
        {"depth": 18, "stem": "cifar", "first_shortcut": True},
        {"depth": 50, "stem": "cifar", "stride_in": "1x1"},
    ],
    "resnext": [{"groups": 4, "width": 8}],
    "senet": [{}],
    "shufflenet_g": [{"groups": 2}, {"groups": 3}],
    "vgg": [{"depth": 11, "width": 0.25}, {"depth": 13, "width": 0.25}],
}
#: Files whose channels cannot be followed, and the words for why.
UNPRUNED = {
    "dpn": "cannot be followed",
    "shufflenet_g": "mixes or moves channels",
}
