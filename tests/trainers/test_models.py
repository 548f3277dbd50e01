from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pqsearch.errors import UserError
from tests.own_modules import own_modules
from trainers.build import build_model, load_weights
from trainers.layers import trace

MODEL = """
import torch.nn as nn
from torch import Tensor

def small(classes, in_channels, hidden=4):
    layers = nn.Conv2d(in_channels, hidden, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(hidden, classes)
    return nn.Sequential(*layers)

def fixed(hidden=4):
    return small(2, 3, hidden)

def counted(num_classes):
    return small(num_classes, 3)

def number():
    return 7

def broken():
    raise RuntimeError("no such luck")

value = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    with own_modules(tmp_path, mynets=MODEL, needy="import a_library_nobody_has\n", crooked="def (:\n") as found:
        yield str(found)


def _build(name: str, folder: str | None = None, classes: int = 5, **options: Any) -> nn.Module:
    return build_model(name, options, classes, (3, 32, 32), folder)


def test_the_digits_net_has_enough_to_search() -> None:
    info = trace(build_model("digits_net", {}, 10, (1, 8, 8)), (1, 8, 8)).info
    assert len(info.layers) >= 10
    assert sum(group.prunable for group in info.groups) >= 5


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_a_cifar_resnet_has_as_many_layers_as_its_name_says(depth: int) -> None:
    model = _build("cifar_resnet", depth=depth)
    assert sum(isinstance(module, (nn.Conv2d, nn.Linear)) for module in model.modules()) == depth


def test_resnet20_has_the_parameters_and_the_names_of_the_published_one() -> None:
    model = _build("cifar_resnet", classes=10)
    assert sum(parameter.numel() for parameter in model.parameters()) == 269722
    names = {name for name, _ in model.named_parameters()}
    assert {"conv1.weight", "bn1.bias", "layer1.0.conv1.weight", "layer3.2.bn2.weight", "linear.bias"} <= names
    assert all("shortcut" not in name for name in names)


def test_option_a_takes_every_second_pixel_and_pads_channels_with_zeros() -> None:
    shortcut = _build("cifar_resnet").get_submodule("layer2.0.shortcut")
    images = torch.rand(2, 16, 8, 8)
    output = shortcut(images)
    assert output.shape == (2, 32, 4, 4)
    assert torch.equal(output[:, 8:24], images[:, :, ::2, ::2])
    assert not output[:, :8].any() and not output[:, 24:].any()


def test_torchvision_networks_take_the_classes_and_their_options() -> None:
    model = _build("torchvision:mobilenet_v2", width_mult=0.25)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 5)


def test_googlenet_gives_one_tensor_in_training_too() -> None:
    assert _build("torchvision:googlenet").train()(torch.zeros(2, 3, 64, 64)).shape == (2, 5)


def test_networks_of_timm_take_the_classes_the_channels_and_their_options() -> None:
    model = build_model("timm:mobilenetv3_small_050", {"drop_rate": 0.25}, 5, (1, 32, 32)).eval()
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 5)
    info = trace(model, (1, 32, 32)).info
    assert sum(group.prunable for group in info.groups) > 10


def test_without_timm_its_networks_are_refused_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"^model.name: timm:resnet18 needs timm, .*; pip install 'pqsearch\[timm\]'$"):
        _build("timm:resnet18")


def test_a_function_of_the_users_gets_what_it_takes(folder: str) -> None:
    assert _build("mynets:small", folder, hidden=6)(torch.zeros(1, 3, 4, 4)).shape == (1, 5)
    assert _build("mynets:fixed", folder, hidden=6)(torch.zeros(1, 3, 4, 4)).shape == (1, 2)
    assert _build("mynets:counted", folder)(torch.zeros(1, 3, 4, 4)).shape == (1, 5)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("torchvision:resnet19", {}, "model.name: torchvision has no classification network 'resnet19', did you"),
        ("torchvision:resnet18", {"width": 2}, "model.options: the model cannot be built with"),
        ("timm:resnet_18", {}, "model.name: timm has no network 'resnet_18', did you mean 'resnet18'"),
        (
            "torchvision:resnet18", {"weights": "IMAGENET1K_V1"},
            'model.options.weights: every worker would fetch them, got \'IMAGENET1K_V1\'; set model.weights = "torchvision:IMAGENET1K_V1"',
        ),
        ("timm:resnet18", {"pretrained": True}, "model.options.pretrained: every worker would fetch the weights, got True"),
        ("timm:resnet18", {"widht": 2}, "model.options: the model cannot be built with {'widht': 2}: TypeError"),
        ("digit_net", {}, "model.name: unknown name 'digit_net', did you mean 'digits_net'?"),
        ("nowhere:net", {}, "model.name: there is no module 'nowhere'"),
        ("mynets:smal", {}, "model.name: mynets has no function or class 'smal', did you mean 'small'?"),
        ("mynets:value", {}, "model.name: mynets has no function or class 'value'"),
        ("mynets:number", {}, "model.name: must give a torch.nn.Module, got int"),
        ("mynets:broken", {}, "model.options: the model cannot be built with {}: RuntimeError: no such luck"),
        ("mynets:small", {"hiden": 2}, "model.options: the model cannot be built with {'hiden': 2}: TypeError"),
        ("needy:net", {}, "model.name: needy needs a_library_nobody_has, which is not installed"),
        ("crooked:net", {}, "model.name: importing crooked failed: SyntaxError"),
    ],
)  # fmt: skip
def test_a_name_or_option_that_cannot_be_built_is_refused_in_words(
    name: str, options: dict[str, Any], words: str, folder: str
) -> None:
    with pytest.raises(UserError) as error:
        _build(name, folder, **options)
    (problem,) = error.value.problems
    assert problem.startswith(words) and "\n" not in problem


@pytest.mark.parametrize("wrap", ["plain", "state_dict", "parallel", "no counters"])
def test_state_dicts_load_in_the_shapes_people_save_them(wrap: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained, fresh = _build("digits_net"), _build("digits_net")
    state: dict[str, Any] = dict(trained.state_dict())
    if wrap == "state_dict":
        state = {"epoch": 3, "state_dict": state}
    elif wrap == "parallel":
        state = {f"module.{key}": value for key, value in state.items()}
    elif wrap == "no counters":
        state = {key: value for key, value in state.items() if "num_batches" not in key}
    torch.save(state, tmp_path / "weights.pth")
    load_weights(fresh, tmp_path / "weights.pth")
    assert all(torch.equal(value, trained.state_dict()[key]) for key, value in fresh.state_dict().items())


def test_weights_that_do_not_fit_are_refused_naming_the_keys_and_nothing_is_loaded(tmp_path: Path) -> None:
    model = _build("digits_net")
    state = dict(model.state_dict())
    before = {key: value.clone() for key, value in state.items()}
    state["extra.weight"] = torch.zeros(1)
    del state["bn1.weight"]
    state["linear.weight"] = torch.zeros(7, 64)
    state["conv1.weight"] = state["conv1.weight"] + 1
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"^model.weights: .*bn1.weight.*extra.weight.*linear.weight \(7, 64\) instead"):
        load_weights(model, tmp_path / "weights.pth")
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


class _Masked(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 4)
        self.register_buffer("mask", torch.full((4, 4), -torch.inf).triu(1))


def test_weights_that_are_not_finite_are_refused_and_a_mask_of_the_networks_own_is_not(tmp_path: Path) -> None:
    state = {key: value.clone() for key, value in _build("digits_net").state_dict().items()}
    state["linear.bias"][2] = torch.nan
    state["bn1.running_var"][0] = torch.inf
    torch.save(state, tmp_path / "diverged.pth")
    with pytest.raises(UserError, match=r"^model.weights: .*not a number in bn1.running_var, linear.bias; take them"):
        load_weights(_build("digits_net"), tmp_path / "diverged.pth")
    masked, other = _Masked(), _Masked()
    torch.save(masked.state_dict(), tmp_path / "masked.pth")
    load_weights(other, tmp_path / "masked.pth")
    assert torch.equal(masked.weight, other.weight) and torch.equal(masked.mask, other.mask)


class _Code:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (print, ("run",))


def test_a_file_that_is_not_a_state_dict_is_refused_and_never_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.pth").write_text("not a checkpoint")
    (tmp_path / "empty.pth").write_bytes(b"")
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    torch.save({"conv1.weight": _Code()}, tmp_path / "code.pth")
    (tmp_path / "folder.pth").mkdir()
    torch.save(dict(_build("digits_net").state_dict()), tmp_path / "torn.pth")
    (tmp_path / "torn.pth").write_bytes((tmp_path / "torn.pth").read_bytes()[:5000])
    for name in ("text", "empty", "tensor", "code", "folder", "torn", "missing"):
        with pytest.raises(UserError) as error:
            load_weights(_build("digits_net"), tmp_path / f"{name}.pth")
        (problem,) = error.value.problems
        assert problem.startswith(f"model.weights: {tmp_path / name}.pth") and "\n" not in problem
    assert capsys.readouterr().out == ""
