"""A spec is checked whole: every mistake is one exact line, and all of them come at once. Nothing here runs a stage."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from pqsearch.errors import UserError
from pqsearch.spec import Spec, load_spec, parse_spec
from pqsearch.summary import warnings
from tests.pqsearch.wrong_specs import SMALLEST, WRONG, smallest_values


def _problems(values: dict[str, Any]) -> list[str]:
    with pytest.raises(UserError) as raised:
        parse_spec(values)
    return list(raised.value.problems)


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_answered_with_exactly_its_line(name: str) -> None:
    changes, answer = WRONG[name]
    assert _problems(smallest_values(**changes)) == answer


def test_mistakes_of_every_kind_come_all_at_once() -> None:
    """Types, ranges, names of rooms, their options and rules between keys do not wait for each other."""
    found = _problems(
        smallest_values(
            study__seed="one",
            data__test_images=3,
            model__name="resnets",
            budgets={"flops": 2.0, "act_bits": "few"},
            space={"prune_rate": [1.0], "weight_bits": ["4", 9], "pin": {"conv1": {"bits": 8}}},
            rungs=[{"kind": "few_shot"}, {"kind": "calibrate", "steps": 1, "lr": 0}],
            workers__count=0,
        )
    )
    starts = {line.partition(":")[0] for line in found}
    assert starts == {
        "study.seed", "data.test_images", "model.name", "budgets.flops", "budgets.act_bits", "space.prune_rate[0]",
        "space.weight_bits[0]", "space.weight_bits[1]", "space.pin.conv1.bits", "rungs[0].steps", "rungs[1].steps",
        "rungs[1].lr", "workers.count",
    }  # fmt: skip
    assert len(found) == len(starts), "one line per problem"
    assert not any("\n" in line for line in found)


def test_every_wrong_spec_together_loses_no_line_that_names_another_section() -> None:
    """Mistakes in different sections add up."""
    names = ("seed below", "unknown dataset", "bits between", "unknown budget", "negative GPUs", "truth in words")
    changes = {key: value for name in names for key, value in WRONG[name][0].items()}
    expected = {line for name in names for line in WRONG[name][1]}
    assert set(_problems(smallest_values(**changes))) == expected


# Overrides


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    path = tmp_path / "spec.toml"
    path.write_text(SMALLEST + '[[rungs]]\nkind = "calibrate"\n')
    return path


OVERRIDES = {
    "no value": ("study.seed", "--set study.seed: must be section.key=value"),
    "no section": ("seed=3", "--set seed=3: must be section.key=value"),
    "no key": ("study.=3", "--set study.=3: must be section.key=value"),
    "entry that is not there": (
        "rungs[4].steps=3", "--set rungs[4].steps=3: there is no rungs[4].steps to set; the spec has 1 entries there",
    ),
    "entry by a word": (
        "rungs[first].steps=3",
        "--set rungs[first].steps=3: there is no rungs[first].steps to set; the spec has 1 entries there",
    ),
    "a whole entry": ("rungs[0]=3", "--set rungs[0]=3: rungs is not a section"),
    "below a value": ("study.name.first=3", "--set study.name.first=3: study.name is not a section"),
    "far below a value": ("study.name.first.x=3", "--set study.name.first.x=3: first is not a section"),
    "wrong type": ("study.seed=abc", "study.seed: must be a whole number, got 'abc'"),
    "out of range": ("budgets.flops=1.5", "budgets.flops: must be in (0, 1], got 1.5"),
    "unknown key": ("study.sede=1", None),
}  # fmt: skip


@pytest.mark.parametrize("name", OVERRIDES)
def test_a_wrong_override_is_answered_in_one_line(name: str, spec_file: Path) -> None:
    override, answer = OVERRIDES[name]
    with pytest.raises(UserError) as raised:
        load_spec(spec_file, [override])
    (line,) = raised.value.problems
    if answer is None:
        assert line.startswith("study.sede: unknown key, did you mean 'seed'?, choose from name, seed,")
    else:
        assert line == answer


def test_wrong_overrides_and_a_wrong_file_are_told_together(spec_file: Path) -> None:
    spec_file.write_text(spec_file.read_text().replace('"digits"', "7"))
    with pytest.raises(UserError) as raised:
        load_spec(spec_file, ["seed=3", "study.name.first=3", "workers.count=0"])
    assert list(raised.value.problems) == [
        "--set seed=3: must be section.key=value",
        "--set study.name.first=3: study.name is not a section",
        "data.name: must be a text, got 7",
        "workers.count: must be at least 1, got 0",
    ]


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("study.seed=7", 7), ("data.name=digits", "digits"), ("data.name='digits'", "digits"), ("study.hours=0.5", 0.5),
        ("space.prune_rate=[0.0, 0.25]", [0.0, 0.25]), ("baseline.amp=false", False), ("study.run_dir=a=b", "a=b"),
        ('space.pin={"layer1.0" = {weight_bits = 8}}', {"layer1.0": {"weight_bits": 8.0}}),
        ("rungs[0].images=64", 64),
    ],
)  # fmt: skip
def test_overrides_are_toml_values_or_bare_words(override: str, value: Any, spec_file: Path) -> None:
    spec = load_spec(spec_file, [override])
    found: Any = spec
    for part in override.partition("=")[0].replace("[0]", ".0").split("."):
        found = found[int(part)] if part.isdigit() else getattr(found, part)
    assert found == value


@pytest.mark.parametrize("marks", ["[0.5, 0.2]", "[0.5, 0.5]", "[0, 0.5]", "[0.5, 1.0]"])
def test_milestones_rise_within_the_training(marks: str, spec_file: Path) -> None:
    with pytest.raises(UserError, match=r"^finetune.milestones: must rise and lie between 0 and 1, the whole training"):
        load_spec(spec_file, [f"finetune.milestones={marks}"])


def test_later_overrides_win(spec_file: Path) -> None:
    assert load_spec(spec_file, ["study.seed=1", "study.seed=2"]).study.seed == 2


def test_overrides_do_not_touch_the_file(spec_file: Path) -> None:
    before = spec_file.read_bytes()
    load_spec(spec_file, ["study.seed=1"])
    assert spec_file.read_bytes() == before


# Files


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[study\n", "is not valid TOML: "), (b"\xff\xfe", "is not a text file in UTF-8; a spec is TOML"),
        (b"[study]\nname = 'a'\nname = 'b'", "is not valid TOML: "),
    ],
)  # fmt: skip
def test_a_file_that_is_no_spec_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        load_spec(path)
    (line,) = raised.value.problems
    assert line.startswith(f"{path}: {words}")


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_says_how_to_get_one(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read .*; `pqsearch init` writes a spec to start from"):
        load_spec(tmp_path / name)


# Specs that are right


def test_the_smallest_spec_has_a_default_for_everything_else() -> None:
    spec = parse_spec(smallest_values())
    assert spec.run_dir == "runs/small"
    assert [rung.kind for rung in spec.rungs] == ["calibrate", "fine_tune"]
    assert (spec.algorithm.name, spec.quantizer.name, spec.pruning.importance) == ("surrogate_exchange", "lsq", "l1")
    assert spec.budgets == {}


def test_a_run_directory_of_ones_own_is_taken() -> None:
    assert parse_spec(smallest_values(study__run_dir="elsewhere")).run_dir == "elsewhere"


def test_whole_numbers_serve_as_numbers() -> None:
    spec = parse_spec(smallest_values(study__hours=2, space__prune_rate=[0, 0.5], budgets={"weight_bits": 4}))
    assert (spec.study.hours, spec.space.prune_rate, spec.budgets["weight_bits"]) == (2.0, [0.0, 0.5], 4.0)


def test_options_of_rooms_are_kept_apart_from_the_keys() -> None:
    spec = parse_spec(smallest_values(algorithm={"name": "genetic", "population": 8}, data__test_images=100))
    assert spec.algorithm.options == {"population": 8}
    assert spec.data.options == {"test_images": 100}


@pytest.mark.parametrize("name", ["torchvision:resnet18", "mine:make"])
def test_models_from_elsewhere_are_not_looked_for_in_the_room(name: str) -> None:
    assert parse_spec(smallest_values(model={"name": name, "options": {"anything": 1}})).model.name == name


def test_a_whole_spec_survives_toml() -> None:
    values = smallest_values(
        study__hours=1.5, model__options={"width": 8}, budgets={"flops": 0.5}, quantizer={"per_channel": False},
        space__pin={"layer1.0.conv1": {"weight_bits": 8, "prune_rate": 0.5}}, rungs=[{"kind": "few_shot", "steps": 2}],
    )  # fmt: skip
    spec = parse_spec(values)
    assert parse_spec(tomllib.loads(spec.to_toml())) == spec


def test_a_spec_cannot_be_changed() -> None:
    spec = parse_spec(smallest_values())
    with pytest.raises(ValueError, match="frozen"):
        spec.study.seed = 3  # type: ignore[misc]


def test_paths_become_absolute_and_ones_own_model_is_found_beside_the_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "specs").mkdir()
    path = tmp_path / "specs" / "spec.toml"
    path.write_text(SMALLEST.replace("digits_net", "mine:make"))
    monkeypatch.chdir(tmp_path)
    spec = load_spec("specs/spec.toml", ["model.weights=w.pth", "data.root=images"])
    assert spec.model.folder == str(tmp_path / "specs")
    assert spec.model.weights == str(tmp_path / "w.pth")
    assert spec.data.root == str(tmp_path / "images")


def test_parsing_leaves_the_values_as_they_were() -> None:
    values = smallest_values(space__pin={"conv1": {"weight_bits": 8}})
    before = repr(values)
    assert isinstance(parse_spec(values), Spec)
    assert repr(values) == before


@pytest.mark.parametrize(
    ("algorithm", "evaluations", "option"),
    [
        ({"name": "genetic"}, 6, "population"),
        ({"name": "surrogate_exchange"}, 6, "startup"),
        ({"name": "genetic", "population": 4}, 6, None),
        ({"name": "genetic"}, 160, None),
        ({"name": "cma_es"}, 6, None),
        ({"name": "optuna:GPSampler"}, 6, None),
    ],
)
def test_a_population_that_nobody_set_and_nobody_can_finish_is_warned_of(
    algorithm: dict[str, Any], evaluations: int, option: str | None
) -> None:
    found = warnings(parse_spec(smallest_values(algorithm=algorithm, study__evaluations=evaluations)), 10_000)
    assert len(found) == (option is not None)
    assert all(f"algorithm.{option} is" in text and "study.evaluations is 6" in text for text in found)


def test_more_images_than_there_are_to_look_at_are_warned_of() -> None:
    spec = parse_spec(
        smallest_values(
            algorithm={"name": "random_search"}, reconstruction={"images": 900}, fixed_point={"images": 700}
        )
    )
    assert warnings(spec, 900) == []
    assert warnings(spec, 800) == [
        "reconstruction.images: 900 images are asked for, the training images are 800; all of them are taken."
    ]
    assert len(warnings(spec, 600)) == 2
    assert any(text.startswith("rungs[0].images: 512 images") for text in warnings(spec, 500))
