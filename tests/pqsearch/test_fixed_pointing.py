"""`[fixed_point]`: the winner of a run in fixed point, tested, written down as integers, and told in summary and report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pqsearch
from pqsearch.cli import main
from pqsearch.errors import UserError
from pqsearch.fixed_pointing import is_made, load_fixed_point, make
from pqsearch.pipeline import opened
from pqsearch.spec import load_spec
from tests.conftest import write_spec
from tests.own_modules import own_modules
from tests.trainers.small import CPU
from trainers.data import Loader


@pytest.fixture(scope="module")
def folder(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its fixed-point stage, which is asked for once all the others are done."""
    folder = tmp_path_factory.mktemp("fixed")
    shutil.copytree(finished_run, folder / "run")
    assert main(["run", str(write_spec(folder, study__evaluations=9, fixed_point={"images": 64}))]) == 0
    return folder


def test_the_stage_leaves_weights_integers_and_results(folder: Path) -> None:
    names = {path.name for path in (folder / "run" / "fixed_point").iterdir()}
    assert names == {"model.pth", "correct.npy", "result.json", "integers.json", "integers.npz", "integers.h"}
    summary = json.loads((folder / "run" / "summary.json").read_text())
    found = summary["fixed_point"]
    assert found["mean_weight_bits"] == found["mean_act_bits"] == 8
    assert found["integer"]["accumulator_bits"] <= 32 and found["integer"]["compared"] == 16
    assert abs(found["test_accuracy"] - summary["searched"]["test_accuracy"]) < 0.1
    assert summary["differences"]["fixed_point - searched"]["images"] == summary["baseline"]["test_images"]
    page = (folder / "run" / "report.html").read_text()
    assert "searched plan, in fixed point" in page


def test_the_network_comes_back_and_its_integers_answer_alike(folder: Path) -> None:
    network, integers = pqsearch.load_fixed_point(folder / "run"), pqsearch.load_integers(folder / "run")
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(network(images.double()), integers(images))
        close = pqsearch.load(folder / "run")(images)  # with gradients off, too
    assert float((integers(images) - close).abs().max() / close.abs().max()) < 0.5


def test_run_again_nothing_is_made_again_until_the_settings_change(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = str(folder / "spec.toml")
    result = folder / "run" / "fixed_point" / "result.json"
    before = result.stat().st_mtime_ns
    assert main(["run", spec]) == 0
    assert result.stat().st_mtime_ns == before
    assert main(["run", spec, "--set", "fixed_point.weight_bits=4"]) == 0
    assert json.loads(result.read_text())["measured"]["weight_bits"] == 4
    summary = folder / "run" / "summary.json"
    assert json.loads(summary.read_text())["fixed_point"]["mean_weight_bits"] == 4
    assert main(["fixed-point", spec]) == 0
    assert json.loads(result.read_text())["measured"]["weight_bits"] == 8
    assert json.loads(summary.read_text())["fixed_point"]["mean_weight_bits"] == 8
    assert "fixed_point" in capsys.readouterr().out


def test_without_merging_there_are_no_integers_and_norms_are_measured_behind_the_grids(folder: Path) -> None:
    changes = ["fixed_point.merge_batch_norm=false", "fixed_point.weight_bits=3"]
    with opened(load_spec(folder / "spec.toml", changes), quiet=True) as pipeline:
        assert "integer" not in pipeline.fixed_point()
        run, prepared = pipeline.run, pipeline.prepared
    augment = tuple(prepared.spec.data.augment)
    images, _ = Loader(prepared.dataset, prepared.splits.train, CPU).sample(600, "look", augment=augment)
    network, seen = load_fixed_point(run.path), {}
    for name, part in network.named_modules():
        if isinstance(part, nn.BatchNorm2d):

            def look(norm: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
                seen[name] = inputs[0].mean((0, 2, 3))

            part.register_forward_pre_hook(look)
    with torch.no_grad():
        network(images.double())
    found, exported = network.state_dict(), pqsearch.load(run.path).state_dict()
    off = {"found": 0.0, "exported": 0.0}
    for name, mean in seen.items():
        size = found[f"{name}.running_var"].sqrt()
        off["found"] += float(((found[f"{name}.running_mean"] - mean) / size).abs().mean())
        off["exported"] += float(((exported[f"{name}.running_mean"] - mean) / size).abs().mean())
    assert len(seen) > 3 and off["found"] < 0.5 * off["exported"]
    # Those of an earlier call would be of other grids.
    assert not list((run.path / "fixed_point").glob("integers.*"))
    with pytest.raises(
        UserError, match="has no integers, fixed_point/ was made with merge_batch_norm = false; make it"
    ):
        pqsearch.load_integers(run.path)


def test_by_the_loss_the_stage_asks_the_task(folder: Path) -> None:
    changes = ["fixed_point.criterion=loss", "fixed_point.images=32", "fixed_point.weight_bits=3"]
    with opened(load_spec(folder / "spec.toml", changes), quiet=True) as pipeline:
        assert 0 <= pipeline.fixed_point()["test_accuracy"] <= 1


def test_trained_on_its_grids_it_is_no_worse_and_its_integers_still_agree(folder: Path) -> None:
    found = []
    for epochs in (0, 2):
        changes = ["fixed_point.weight_bits=3", f"fixed_point.epochs={epochs}", "fixed_point.lr=0.01"]
        with opened(load_spec(folder / "spec.toml", changes), quiet=True) as pipeline:
            found.append(pipeline.fixed_point())
    assert found[1]["select_accuracy"] >= found[0]["select_accuracy"] and found[1]["integer"]["compared"] == 16
    assert not list((folder / "run" / "fixed_point").glob("*checkpoint*"))
    assert "fixed_point 2/2 epochs" in (folder / "run" / "logs" / "pqsearch.log").read_text()


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "too few bits": ({"weight_bits": 1}, "fixed_point.weight_bits"),
    "too many bits": ({"act_bits": 17}, "fixed_point.act_bits"),
    "a word": ({"weight_bits": "all"}, "fixed_point.weight_bits"),
    "no images": ({"images": 0}, "fixed_point.images"),
    "a criterion": ({"criterion": "entropy"}, "fixed_point.criterion"),
    "a key": ({"bias": 3}, "fixed_point.bias"),
}


@pytest.mark.parametrize(("keys", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_wrong_key_is_told_in_a_line(
    keys: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(write_spec(tmp_path, fixed_point=keys))]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and words in said[0]


def test_a_network_without_an_integer_form_is_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = """
from torch import nn

def make(classes):
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.SiLU(), nn.Flatten(), nn.Linear(288, classes))
"""
    with own_modules(tmp_path, smooth=net):
        spec = str(write_spec(tmp_path, model={"name": "smooth:make"}, fixed_point={}, budgets={}))
        assert main(["run", spec]) == 2
        said = capsys.readouterr().err
        assert said == (
            "fixed_point: silu has no integer form (behind the layer 0); take merge_batch_norm = false: all but the integers is "
            "done then\n"
        )
        assert not (tmp_path / "run").exists()
        assert main(["check", spec, "--set", "fixed_point.merge_batch_norm=false"]) == 0, capsys.readouterr().err


def test_a_network_that_reads_the_weights_of_a_layer_is_refused_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = """
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.linear = nn.Linear(8, classes)

    def forward(self, x):
        x = self.conv(x).flatten(2).transpose(1, 2)
        return self.linear(self.attention(x, x, x, need_weights=False)[0].mean(1))

def make(classes):
    return Net(classes)
"""
    with own_modules(tmp_path, attentive=net):
        spec = str(write_spec(tmp_path, model={"name": "attentive:make"}, fixed_point={}, budgets={}))
        assert main(["check", spec]) == 2
        said = capsys.readouterr().err
        assert said == (
            "fixed_point: the forward pass reads `weight` of a layer or of its sums, which integers do not have (behind the layer "
            "conv.2); take merge_batch_norm = false: all but the integers is done then\n"
        )
        assert main(["check", spec, "--set", "fixed_point.merge_batch_norm=false"]) == 0, capsys.readouterr().err


ONE_BIT: dict[str, tuple[dict[str, Any], str]] = {
    "pinned": ({"space__pin": {"layer1.0.conv1": {"act_bits": 1}}}, "layer1.0.conv1"),
    "of some layers": (
        {"space__layers": {"layer2.0.conv*": {"weight_bits": [1, 4]}}},
        "layer2.0.conv1, layer2.0.conv2",
    ),
    "first and last": ({"space__first_last_bits": 1}, "conv1, linear"),
}


@pytest.mark.parametrize(("changes", "names"), ONE_BIT.values(), ids=ONE_BIT.keys())
def test_layers_of_one_bit_are_told_before_anything_is_trained_where_the_plans_bits_are_taken(
    changes: dict[str, Any], names: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = str(write_spec(tmp_path, fixed_point={"plan_bits": True}, **changes))
    assert main(["check", spec]) == 2
    assert f"fixed_point.plan_bits: [space] lets these layers have 1 bit: {names}; a step" in capsys.readouterr().err
    assert main(["check", spec, "--set", "fixed_point.plan_bits=false"]) == 0


def test_the_stage_without_its_section_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fixed-point", str(write_spec(tmp_path))]) == 2
    assert "fixed_point: is not in the spec; put [fixed_point] into it" in capsys.readouterr().err


def test_a_run_without_the_stage_has_none_to_load(finished_run: Path) -> None:
    with pytest.raises(UserError, match="has no fixed_point/"):
        pqsearch.load_fixed_point(finished_run)


@pytest.mark.parametrize("load", [pqsearch.load_fixed_point, pqsearch.load_integers])
def test_behind_another_plan_nothing_is_loaded_until_it_is_made_anew(
    load: Callable[[Path], nn.Module], folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run)
    plan = json.loads((run / "plan.json").read_text())
    plan["layers"]["linear"]["weight_bits"] = 7
    (run / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(UserError, match=r"is of an earlier plan than plan\.json; `pqsearch fixed-point SPEC`"):
        load(run)


def test_interrupted_between_its_files_the_stage_counts_as_not_done(folder: Path) -> None:
    with opened(load_spec(folder / "spec.toml"), quiet=True) as pipeline:
        pipeline.fixed_point()
        run, prepared, made = pipeline.run, pipeline.prepared, pipeline.spec.fixed_point
        assert made is not None and is_made(run, made)

        def interrupt(state: dict[str, Any]) -> None:
            if state["unit"] == "integers":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make(prepared, run, made.model_copy(update={"weight_bits": 5}), interrupt)
    assert not is_made(run, made)
    with pytest.raises(UserError, match="has no fixed_point/"):
        pqsearch.load_integers(run.path)
    assert main(["fixed-point", str(folder / "spec.toml")]) == 0


def test_the_scores_of_each_image_are_kept(folder: Path) -> None:
    found = np.load(folder / "run" / "fixed_point" / "correct.npy")
    assert found.dtype == np.bool_ and len(found) == 600
