"""Networks with several heads: the one that is asked for is all that is trained, pruned and counted."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from pqsearch.errors import UserError
from pqsearch.plan import LayerPlan, Plan
from pqsearch.prepare import prepare
from pqsearch.rebuild import module_of, recipe
from pqsearch.spec_network import ModelSpec
from tests.own_modules import own_modules
from tests.trainers.small import small_context, small_data, small_spec
from trainers import files
from trainers.baseline import initial_model
from trainers.build import network
from trainers.compress import compress
from trainers.full import finetune
from trainers.heads import check_classes, check_training, with_output
from trainers.layers import trace
from trainers.loop import Recipe, Trainer
from trainers.measure import measure

SHAPE = (1, 8, 8)
TWO = '''
import torch
from dataclasses import dataclass
from torch import nn

@dataclass
class Answers:
    main: torch.Tensor
    side: torch.Tensor

class Two(nn.Module):
    def __init__(self, classes, kind):
        super().__init__()
        self.kind = kind
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU())
        self.main = nn.Linear(12, classes)
        self.side = nn.Sequential(
            nn.BatchNorm2d(8), nn.Conv2d(8, 6, 3, stride=2), nn.PReLU(6), nn.Conv2d(6, 6, 3, padding="same"), nn.Flatten(), nn.Linear(54, 3)
        )

    def forward(self, images):
        x = self.stem(images)
        main, side = self.main(self.body(x).mean((2, 3))), self.side(x)
        if self.kind == "dict":
            return {"main": main, "side": side}
        if self.kind == "tuple":
            return main, side
        if self.kind == "in training" and not self.training:
            return main
        return Answers(main, side)

def make(classes, kind="dict"):
    return Two(classes, kind)

class Cut(nn.Module):
    """The part before the head is run without gradients."""
    def __init__(self, classes):
        super().__init__()
        self.body, self.head, self.side = nn.Conv2d(1, 4, 3), nn.Linear(4, classes), nn.Linear(4, 2)
    def forward(self, images):
        with torch.no_grad():
            x = self.body(images).mean((2, 3))
        return self.head(x), self.side(x)

def cut(classes):
    return Cut(classes)
'''


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    with own_modules(tmp_path, twoheads=TWO) as found:
        yield str(found)


def _model(folder: str, output: str | int | None, kind: str = "dict", function: str = "make") -> nn.Module:
    options = {"kind": kind} if function == "make" else {}
    spec = ModelSpec(name=f"twoheads:{function}", folder=folder, options=options, output=output)
    torch.manual_seed(0)
    return network(spec, 10, SHAPE).eval()


@pytest.mark.parametrize(
    ("kind", "output"), [("dict", "main"), ("tuple", 0), ("dataclass", "main"), ("in training", "main")]
)
def test_the_output_of_a_name_or_an_index_is_the_models(folder: str, kind: str, output: str | int) -> None:
    model, whole = _model(folder, output, kind), _model(folder, None, "dict")
    images = torch.rand(3, *SHAPE)
    assert torch.equal(model(images), whole(images)["main"])
    assert model.train()(images).shape == (3, 10)
    assert torch.equal(copy.deepcopy(model).eval()(images), model.eval()(images))


def test_layers_of_other_heads_are_left_out_and_those_they_share_can_be_pruned(folder: str) -> None:
    model = _model(folder, "main")
    assert not [name for name, _ in model.named_parameters() if name.startswith("side")]
    traced = trace(model, SHAPE)
    assert [layer.name for layer in traced.info.layers] == ["stem.0", "body.0", "main"]
    assert {group.name: group.prunable for group in traced.info.groups if group.name != "main"} == {
        "stem.0": True, "body.0": True,
    }  # fmt: skip
    plan = Plan({"stem.0": 0.5, "body.0": 0.25}, {"body.0": LayerPlan(4, 4)})
    smaller = compress(model, plan, input_shape=SHAPE)
    assert smaller(torch.rand(3, *SHAPE)).shape == (3, 10) and smaller.train()(torch.rand(3, *SHAPE)).shape == (3, 10)
    # 4 and 9 channels are left; nothing of the other head is counted.
    assert measure(smaller.eval(), SHAPE)["macs"] == 64 * 9 * 4 + 16 * 9 * 4 * 9 + 9 * 10


def test_the_other_head_can_be_the_one(folder: str) -> None:
    model = _model(folder, "side")
    assert [layer.name for layer in trace(model, SHAPE).info.layers] == ["stem.0", "side.1", "side.3", "side.5"]


def test_weights_of_all_heads_are_taken_and_those_of_the_one_are_kept(folder: str, tmp_path: Path) -> None:
    whole = _model(folder, None)
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    torch.manual_seed(1)
    spec = ModelSpec(name="twoheads:make", folder=folder, output="main", weights=str(tmp_path / "whole.pth"))
    found = network(spec, 10, SHAPE).eval()
    images = torch.rand(3, *SHAPE)
    assert torch.equal(found(images), whole(images)["main"])


def test_a_study_of_one_head_trains_fine_tunes_and_rebuilds_it(folder: str, tmp_path: Path) -> None:
    model = {"name": "twoheads:make", "folder": folder, "output": "main", "options": {"kind": "dict"}}
    spec = small_spec(model=model).model_copy(update={"model": ModelSpec(**model)})  # type: ignore[arg-type]
    dataset, _ = small_data(spec)
    context = small_context(tmp_path, spec)
    plan = Plan({"stem.0": 0.5}, {"body.0": LayerPlan(4, 4)})
    (tmp_path / "plan").mkdir()
    result = finetune(context, "searched", plan, tmp_path / "plan", spec.finetune)
    rebuilt = module_of(plan, recipe(spec, plan, dataset), tmp_path / "plan" / "weights.pth")
    images, labels = context.score.take(torch.arange(100).numpy())
    assert rebuilt(images).shape == (100, 10) and result["test_images"] == 1200
    trainer = Trainer(initial_model(spec, dataset), Recipe(steps=2, lr=0.1, ema=0.9, amp=False), context.device)
    trainer.run([(images, labels)] * 2)
    assert trainer.result(images).shape == (100, 10)
    assert not [name for name in files.load(tmp_path / "plan" / "weights.pth") if name.startswith("side")]


@pytest.mark.parametrize(
    ("kind", "output", "words"),
    [
        (
            "dict",
            "man",
            "model.output: the model returns several outputs (dict), main, side, got 'man', did you mean 'main'?",
        ),
        ("dict", 0, "model.output: the model returns several outputs (dict), main, side, got 0"),
        ("tuple", "main", "model.output: the model returns several outputs (tuple), 0 to 1, got 'main'"),
        ("tuple", 2, "model.output: the model returns several outputs (tuple), 0 to 1, got 2"),
        ("dataclass", "max", "model.output: the model returns several outputs (Answers), main, side, got 'max'"),
    ],
)
def test_an_output_that_is_not_there_is_refused_with_those_that_are(
    folder: str, kind: str, output: str | int, words: str
) -> None:
    with pytest.raises(UserError) as error:
        _model(folder, output, kind)
    (problem,) = error.value.problems
    assert problem.startswith(words)


def test_an_output_of_a_model_that_returns_one_is_refused() -> None:
    with pytest.raises(UserError, match=r"^model.output: the model returns one tensor, got 'main'; leave it out$"):
        network(ModelSpec(name="digits_net", output="main"), 10, SHAPE)


def test_a_model_of_several_heads_must_be_told_which(folder: str) -> None:
    with pytest.raises(
        UserError,
        match=r"the model returns several outputs \(dict\), main, side; model.output names the one that counts$",
    ):
        trace(_model(folder, None), SHAPE)
    spec = small_spec(model={"name": "twoheads:make", "folder": folder}).model_copy(
        update={"model": ModelSpec(name="twoheads:make", folder=folder, options={"kind": "in training"})}
    )
    words = r"^model: the model returns several outputs \(Answers\), main, side while it trains; model.output names the one that counts$"
    with pytest.raises(UserError, match=words):
        prepare(spec)


def test_a_layer_that_gradients_do_not_reach_but_the_output_needs_stays(folder: str) -> None:
    model = _model(folder, 0, function="cut")
    assert isinstance(model.get_submodule("body"), nn.Conv2d) and isinstance(model.get_submodule("side"), nn.Linear)


class _Pair(NamedTuple):
    logits: Tensor
    extra: Tensor


class _Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Any:
        return _Pair(self.head(images.flatten(1)), images)


def test_named_tuples_are_chosen_from_by_name_and_by_index() -> None:
    images = torch.rand(2, *SHAPE)
    for output in ("logits", 0):
        assert with_output(_Named(), output, SHAPE, "model")(images).shape == (2, 10)


def test_googlenets_extra_heads_can_be_on_and_left_out() -> None:
    options = {"aux_logits": True}
    model = network(ModelSpec(name="torchvision:googlenet", options=options, output="logits"), 5, (3, 64, 64))
    check_training(model, (3, 64, 64), "model")
    assert not [name for name, _ in model.named_parameters() if name.startswith("aux")]
    plain = network(ModelSpec(name="torchvision:googlenet"), 5, (3, 64, 64))
    check_training(plain, (3, 64, 64), "model")
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_a_model_without_a_score_for_some_class_is_refused_and_one_with_more_is_not() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 10))
    for classes in (2, 10):
        check_classes(model, classes, (3, 4, 4), "model")
    with pytest.raises(UserError, match="model: must have a score for each of the data's 11 classes, got 10;"):
        check_classes(model, 11, (3, 4, 4), "model")
