"""From a model's name to a module with weights: our files, networks of torchvision and timm, the user's own function."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pqsearch import rooms
from pqsearch.errors import UserError
from pqsearch.own import load_own
from pqsearch.spec_network import TIMM, TORCHVISION, ModelSpec
from trainers.heads import with_output
from trainers.published import published_state

SHOWN_KEYS = 3


def network(
    spec: ModelSpec, classes: int, input_shape: tuple[int, ...], key: str = "model", *, weights: bool = True
) -> nn.Module:
    """The network of a section with the weights it names (unless they are not wanted), returning the output that it asks for.

    Raises `UserError` about the section `key`.
    """
    model = build_model(spec.name, spec.options, classes, input_shape, spec.folder, key)
    if weights and spec.weights:
        # With all heads: the file knows of no choice.
        load_given(model, spec, key)
    return with_output(model, spec.output, input_shape, key)


def load_given(model: nn.Module, spec: ModelSpec, key: str = "model") -> None:
    """Load the weights that a section names: a file, or those that torchvision publishes. Raises `UserError`."""
    assert spec.weights is not None
    if spec.weights.startswith(TORCHVISION):
        fit_weights(model, published_state(spec.name, spec.weights, model, key), spec.weights, key)
    else:
        load_weights(model, spec.weights, key)


def build_model(
    name: str,
    options: Mapping[str, Any],
    classes: int,
    input_shape: tuple[int, ...],
    folder: str | None = None,
    key: str = "model",
) -> nn.Module:
    """The network `name` for images of `input_shape` (channels, height, width).

    `name` is a file in `trainers/models/`, `torchvision:<name>`, `timm:<name>` or `module:function`, looked for in `folder` first.
    A user's function gets `options`, and `classes` and `in_channels` if it takes them. Raises `UserError` about the section `key`.
    """
    if name.startswith(TORCHVISION):
        return _torchvision(name.removeprefix(TORCHVISION), options, classes, key)
    if name.startswith(TIMM):
        return _timm(name.removeprefix(TIMM), options, classes, input_shape[0], key)
    if ":" in name:
        return _users(name, options, classes, input_shape[0], folder, key)
    problem = rooms.unknown("models", name)
    if problem:
        raise UserError(f"{key}.name: {problem}, torchvision:<name>, timm:<name> or module:function")
    return _call(rooms.load("models", name), (classes, input_shape[0]), {}, options, key)


def _torchvision(name: str, options: Mapping[str, Any], classes: int, key: str) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise UserError(
            f"{key}.name: torchvision has no classification network {name!r}{rooms.nearest(name, known, most=3)}"
        )
    if options.get("weights"):
        raise UserError(
            f"{key}.options.weights: every worker would fetch them, got {options['weights']!r}; set {key}.weights = "
            f'"{TORCHVISION}{options["weights"]}"'
        )
    function = models.get_model_builder(name)
    return _call(function, (), {"weights": None, "num_classes": classes, **_quiet(function)}, options, key)


def _quiet(function: Any) -> dict[str, Any]:
    """GoogLeNet and Inception return extra heads and warn about their initialisation unless told not to."""
    return {"aux_logits": False, "init_weights": True} if function.__name__ in ("googlenet", "inception_v3") else {}


def _timm(name: str, options: Mapping[str, Any], classes: int, in_channels: int, key: str) -> nn.Module:
    try:
        import timm
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise UserError(
            f"{key}.name: timm:{name} needs timm, which is not installed; pip install 'pqsearch[timm]'"
        ) from None
    if not timm.is_model(name):
        known = timm.list_models()
        raise UserError(f"{key}.name: timm has no network {name!r}{rooms.nearest(name, known, most=3)}")
    if options.get("pretrained"):
        raise UserError(
            f"{key}.options.pretrained: every worker would fetch the weights, got {options['pretrained']!r}; save their state "
            f"dict once and name it in {key}.weights"
        )
    model = _call(timm.create_model, (name,), {"num_classes": classes, "in_chans": in_channels}, options, key)
    for place, module in list(model.named_modules()):
        if type(module) is timm.layers.Linear:  # differs from torch's in what TorchScript makes of it alone
            plain = nn.Linear(module.in_features, module.out_features, module.bias is not None)
            plain.weight, plain.bias = module.weight, module.bias
            model.set_submodule(place, plain)
    return model


def _users(
    name: str, options: Mapping[str, Any], classes: int, in_channels: int, folder: str | None, key: str
) -> nn.Module:
    function = load_own(name, folder, f"{key}.name")
    try:
        parameters = set(inspect.signature(function).parameters)
    except ValueError:
        parameters = set()
    offered = {"classes": classes, "num_classes": classes, "in_channels": in_channels}
    taken = {key: value for key, value in offered.items() if key in parameters and key not in options}
    return _call(function, (), taken, options, key)


def _call(
    function: Any, arguments: tuple[Any, ...], given: Mapping[str, Any], options: Mapping[str, Any], key: str
) -> nn.Module:
    try:
        model = function(*arguments, **{**given, **options})
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{key}.options: the model cannot be built with {dict(options)}: {type(error).__name__}: {reason}"
        ) from None
    if not isinstance(model, nn.Module):
        raise UserError(f"{key}.name: must give a torch.nn.Module, got {type(model).__name__}")
    return model


def load_weights(model: nn.Module, path: str | Path, key: str = "model") -> None:
    """Load a state dict, strictly. `{"state_dict": ...}` and the `module.` of data-parallel training are seen through.

    Raises `UserError` for a missing or unreadable file, and for keys or values that do not fit, naming the first few.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{key}.weights: {path} does not exist; give a state dict written by torch.save") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{key}.weights: {path} is not a state dict of plain tensors ({reason})") from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise UserError(f"{key}.weights: {path} is not a state dict: must map names to tensors")
    fit_weights(model, {name.removeprefix("module."): value for name, value in found.items()}, path, key)


def fit_weights(model: nn.Module, state: Mapping[str, torch.Tensor], source: str | Path, key: str = "model") -> None:
    """Load a state dict from `source`, strictly. Raises `UserError` for keys that do not fit and for values that are not finite."""
    wanted = model.state_dict()
    # Older checkpoints lack the batch counters, which nothing here depends on.
    counters = {name: value for name, value in wanted.items() if name.endswith("num_batches_tracked")}
    state = {**counters, **state}
    missing = [name for name in wanted if name not in state]
    extra = [name for name in state if name not in wanted]
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    parts = [
        f"{what} {_some(keys)}"
        for what, keys in (("misses", missing), ("has unknown", extra), ("has the wrong shape for", shapes))
        if keys
    ]
    if parts:
        raise UserError(
            f"{key}.weights: {source} does not fit the model: it {'; '.join(parts)}; check {key}.name and {key}.options"
        )
    # A buffer that the network itself fills with infinities, such as a mask, may hold them.
    broken = [name for name in wanted if not state[name].isfinite().all() and wanted[name].isfinite().all()]
    if broken:
        raise UserError(
            f"{key}.weights: {source} holds values that are infinite or not a number in {_some(broken)}; take them from before the "
            "training diverged"
        )
    model.load_state_dict(state)


def _some(keys: Iterable[str]) -> str:
    keys = list(keys)
    more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
    return ", ".join(keys[:SHOWN_KEYS]) + more
