from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pqsearch.errors import UserError
from pqsearch.prepare import prepare
from pqsearch.spec import load_spec, parse_spec
from pqsearch.spec_network import FinetuneSpec
from tests.conftest import write_spec
from tests.trainers.small import PLAN, TRAINING, same_weights, small_context, small_spec
from trainers import files
from trainers.build import build_model
from trainers.full import finetune


def _weights(folder: Path, width: int = 12) -> str:
    torch.manual_seed(5)
    path = folder / f"teacher-{width}.pth"
    torch.save(build_model("digits_net", {"width": width}, 10, (1, 8, 8)).state_dict(), path)
    return str(path)


def test_a_fine_tune_learns_from_the_network_that_is_named(tmp_path: Path) -> None:
    context = small_context(tmp_path, small_spec())
    teacher = {"name": "digits_net", "options": {"width": 12}, "weights": _weights(tmp_path)}
    for name, more in (("baseline", {}), ("other", {"teacher": teacher}), ("again", {"teacher": teacher})):
        settings = FinetuneSpec(**{**TRAINING, "epochs": 1, "distillation": 0.9, **more})
        finetune(context, "searched", PLAN, tmp_path / name, settings)
    found = {name: files.load(tmp_path / name / "weights.pth") for name in ("baseline", "other", "again")}
    assert same_weights(found["other"], found["again"])
    assert not same_weights(found["other"], found["baseline"])


def test_a_teacher_whose_weights_do_not_fit_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    wrong = {"name": "digits_net", "options": {"width": 8}, "weights": _weights(tmp_path, 12)}
    path = write_spec(tmp_path, finetune__distillation=0.5, finetune__teacher=wrong)
    with pytest.raises(UserError, match=r"^finetune.teacher.weights: .*does not fit.*check finetune.teacher.name"):
        prepare(load_spec(path))


@pytest.mark.parametrize(
    ("teacher", "distillation", "line"),
    [
        ({"name": "digits_nets", "weights": "w.pth"}, 0.5, "finetune.teacher.name: unknown name 'digits_nets', did you mean"),
        ({"name": "digits_net"}, 0.5, "finetune.teacher.weights: is required, got nothing"),
        ({"name": "digits_net", "weights": "w.pth"}, 0.0, "finetune.distillation: must be more than 0 with a teacher, got 0"),
        (
            {"name": "digits_net", "weights": "w.pth", "options": {"wide": 3}}, 0.5,
            "finetune.teacher.options.wide: unknown option of 'digits_net'",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_teacher_is_said_by_the_spec(
    teacher: dict[str, object], distillation: float, line: str
) -> None:
    values = small_spec().to_dict()
    values["finetune"] |= {"distillation": distillation, "teacher": teacher}
    with pytest.raises(UserError) as error:
        parse_spec(values)
    (problem,) = error.value.problems
    assert problem.startswith(line)


def test_weights_of_a_teacher_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    teacher = {"name": "digits_net", "weights": "w.pth"}
    spec = load_spec(write_spec(tmp_path, finetune__distillation=0.5, finetune__teacher=teacher))
    assert spec.finetune.teacher is not None and spec.finetune.teacher.weights == str(tmp_path / "w.pth")
