"""Attention transfer: what is compared, and what a fine-tune makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pqsearch.errors import UserError
from pqsearch.prepare import prepare
from pqsearch.spec import load_spec, parse_spec
from pqsearch.spec_network import FinetuneSpec
from tests.conftest import write_spec
from tests.trainers.small import CPU, PLAN, TRAINING, same_weights, small_context, small_spec
from trainers import files
from trainers.build import build_model
from trainers.features import Features, attention, check_features, matching
from trainers.full import finetune
from trainers.loop import Recipe, Trainer
from trainers.proxy import calibrate, compressed

LAYERS = ["layer1.*", "layer3.0.conv2"]


def _net(seed: int = 0, width: int = 8) -> nn.Module:
    torch.manual_seed(seed)
    return build_model("digits_net", {"width": width, "blocks": 1}, 10, (1, 8, 8))


def test_a_map_is_where_a_layer_looks_whatever_its_channels_are() -> None:
    outputs = torch.randn(3, 5, 4, 2)
    found = attention(outputs)
    expected = (outputs**2).sum(1).reshape(3, 8)
    torch.testing.assert_close(found, expected / expected.norm(dim=1, keepdim=True))
    torch.testing.assert_close(attention(7 * outputs[:, [4, 2, 0, 1, 3]]), found)


def test_the_loss_is_the_mean_squared_distance_of_the_maps_and_pulls_on_the_student_alone() -> None:
    student, teacher, images = _net(0), _net(1, width=12).eval(), torch.randn(6, 1, 8, 8)
    names = matching(student, LAYERS)
    assert names == ["layer1.0.conv1", "layer1.0.conv2", "layer3.0.conv2"]
    maps: dict[str, torch.Tensor] = {}
    for key, net in (("student", student), ("teacher", teacher)):
        for name in names:
            net.get_submodule(name).register_forward_hook(
                lambda module, inputs, output, at=f"{key} {name}": maps.__setitem__(at, attention(output))
            )
    features = Features(student, teacher, LAYERS)
    student.train()(images)
    with torch.no_grad():
        teacher(images)
    loss = features.loss()
    apart = [(maps[f"student {name}"] - maps[f"teacher {name}"]).square().sum(1).mean() for name in names]
    torch.testing.assert_close(loss, sum(apart) / 3)
    loss.backward()
    assert student.conv1.weight.grad is not None and student.linear.weight.grad is None
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_training_brings_the_maps_of_a_pruned_and_quantised_network_nearer(tmp_path: Path) -> None:
    context = small_context(tmp_path, small_spec())
    student = compressed(context, PLAN)
    calibrate(context, student, 64)
    teacher = _net(3)
    recipe = Recipe(steps=40, lr=0.01, amp=False, feature_distillation=100.0, feature_layers=tuple(LAYERS))
    trainer = Trainer(student, recipe, CPU, teacher)
    batches = [context.train.sample(64, "features", number) for number in range(4)]
    losses = [trainer.run(batches) for _ in range(10)]
    assert losses[-1] < 0.7 * losses[0]


def test_a_fine_tune_with_it_comes_to_other_weights_and_the_same_each_time(tmp_path: Path) -> None:
    context = small_context(tmp_path, small_spec())
    wanted = {"feature_distillation": 50.0, "feature_layers": LAYERS}
    for name, more in (("plain", {}), ("one", wanted), ("two", wanted)):
        finetune(context, "searched", PLAN, tmp_path / name, FinetuneSpec(**{**TRAINING, "epochs": 1, **more}))
    plain, one, two = (files.load(tmp_path / name / "weights.pth") for name in ("plain", "one", "two"))
    assert same_weights(one, two) and not same_weights(plain, one)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"feature_distillation": 1.0}, "finetune.feature_layers: is required with feature_distillation"),
        ({"feature_layers": ["conv1"]}, "finetune.feature_distillation: must be more than 0 with feature_layers"),
    ],
)
def test_half_of_it_is_refused_by_the_spec(keys: dict[str, object], line: str) -> None:
    values = small_spec().to_dict()
    values["finetune"] |= keys
    with pytest.raises(UserError) as caught:
        parse_spec(values)
    assert [problem for problem in caught.value.problems if problem.startswith(line)]


def test_layers_that_are_not_there_are_named_before_anything_is_trained(tmp_path: Path) -> None:
    keys = {"finetune__feature_distillation": 1.0, "finetune__feature_layers": ["layer9.*", "layer1.0.conv1"]}
    with pytest.raises(UserError, match=r"finetune\.feature_layers: no convolution is called 'layer9\.\*'"):
        prepare(load_spec(write_spec(tmp_path, **keys)))
    with pytest.raises(UserError, match=r"the teacher has no convolution 'layer1\.0\.conv1'"):
        check_features(_net(), nn.Sequential(nn.Conv2d(1, 4, 3)), ["layer1.0.conv1"], (1, 8, 8))
    other = _net()
    other.conv1.stride = (2, 2)
    with pytest.raises(UserError, match=r"the maps of 'layer1\.0\.conv1' must be of one size"):
        check_features(_net(), other, ["layer1.0.conv1"], (1, 8, 8))
