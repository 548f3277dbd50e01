"""Weights that torchvision publishes: found where torch keeps them, or said what to place where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import models

from pqsearch.errors import UserError
from pqsearch.spec import load_spec, paths_in
from pqsearch.spec_network import ModelSpec
from tests.conftest import write_spec
from trainers.build import network

NAME, WEIGHTS = "torchvision:squeezenet1_1", "torchvision:IMAGENET1K_V1"
FILE = Path(models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url).name
SHAPE = (3, 64, 64)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub folder of the test's own, and no way out of this machine."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def _network(classes: int = 1000, **keys: Any) -> torch.nn.Module:
    return network(ModelSpec(**{"name": NAME, "weights": WEIGHTS, **keys}), classes, SHAPE)


def _problem(**keys: Any) -> str:
    with pytest.raises(UserError) as error:
        _network(**keys)
    (problem,) = error.value.problems
    assert "\n" not in problem
    return problem


def test_a_file_in_torchs_hub_folder_is_taken(hub: Path) -> None:
    torch.manual_seed(0)
    state = models.squeezenet1_1().state_dict()
    torch.save(state, hub / FILE)
    found = _network().state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    problem = _problem(classes=10)
    assert problem.startswith(
        f"model.weights: {WEIGHTS} does not fit the model: it has the wrong shape for classifier.1.weight"
    )
    assert "(1000, 512, 1, 1) instead of (10, 512, 1, 1)" in problem


def test_what_cannot_be_fetched_is_told_with_the_file_and_its_place(hub: Path) -> None:
    problem = _problem()
    assert problem.startswith("model.weights: IMAGENET1K_V1 of squeezenet1_1 cannot be fetched (")
    assert problem.endswith(f"elsewhere and place it as {hub / FILE}")
    assert list(hub.iterdir()) == []


class _Code:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (print, ("run",))


@pytest.mark.parametrize("content", ["torn", "code", "other"])
def test_another_file_in_its_place_is_named_and_never_run(
    hub: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"a": _Code() if content == "code" else torch.zeros(3)}, hub / FILE)
    if content == "torn":
        (hub / FILE).write_bytes((hub / FILE).read_bytes()[:200])
    assert _problem().startswith(f"model.weights: {hub / FILE} is not the file that torchvision publishes (")
    assert capsys.readouterr().out == ""


def test_unknown_weights_and_networks_of_others_are_refused(hub: Path) -> None:
    assert _problem(weights="torchvision:IMAGENET1K_V2") == (
        "model.weights: torchvision has no weights 'IMAGENET1K_V2' for squeezenet1_1, did you mean 'IMAGENET1K_V1'?, "
        "choose from IMAGENET1K_V1, DEFAULT"
    )
    assert _problem(name="digits_net").startswith(
        f"model.weights: {WEIGHTS} are for networks torchvision:<name>, model.name is 'digits_net'"
    )


def test_weights_that_want_another_scale_say_so(hub: Path) -> None:
    file = Path(models.GoogLeNet_Weights.IMAGENET1K_V1.url).name
    torch.save(models.googlenet(init_weights=False).state_dict(), hub / file)
    problem = _problem(name="torchvision:googlenet")
    assert problem.endswith("want images in another scale; set model.options = { transform_input = true }")
    _network(name="torchvision:googlenet", options={"transform_input": True})


def test_a_spec_keeps_the_name_of_such_weights_as_it_is(tmp_path: Path) -> None:
    spec = load_spec(write_spec(tmp_path, model={"name": NAME, "weights": WEIGHTS}))
    assert spec.model.weights == WEIGHTS and spec.model.folder is None
    assert not [key for key, _ in paths_in(spec.to_dict()) if key == "model.weights"]
