"""`pqsearch plot`: pictures of a run's winner. No Ray."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pqsearch import rooms
from pqsearch.applying import plan_of
from pqsearch.errors import UserError, writing
from pqsearch.layer_values import observe, steps_of
from pqsearch.plan import ModelInfo, Plan
from pqsearch.plan_file import read_recipe
from pqsearch.plots._told import Told
from pqsearch.prepare import prepare
from pqsearch.rebuild import module_of
from pqsearch.run_dir import RunDirectory

FORMATS = ("png", "svg")
#: Why there may be nothing to draw.
NOTHING = {
    "errors": "nothing is quantised in these layers",
    "steps": "no steps were trained in this run's full fine-tune",
}
#: Dots per inch of a PNG.
DPI = 130


def plot(
    run_dir: str | Path,
    out: str | Path | None = None,
    *,
    only: Sequence[str] = (),
    layers: str = "*",
    plans: Sequence[str | Path] = (),
    format: str = "png",
    images: int = 256,
    overrides: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> list[Path]:
    """Draw pictures of a run's winner into the folder `out` (`RUN_DIR/plots` unless given); returns the files written.

    `only` names pictures (files in `pqsearch/plots/`), all unless given; `layers` is a pattern of layers' names; `plans` are files of
    plans to be drawn beside those of the run; `images` training images show the activations; `say` hears of pictures with nothing to
    draw. Raises `UserError`.
    """
    if format not in FORMATS:
        raise UserError(f"--format {format}: choose from {', '.join(FORMATS)}")
    unknown = [f"--only {name}: {problem}" for name in only if (problem := rooms.unknown("plots", name))]
    if unknown:
        raise UserError(unknown)
    run = RunDirectory.existing(run_dir)
    if not run.model.is_file():
        raise UserError(f"{run_dir}: has no model.pth yet; `pqsearch run` or `pqsearch export` writes it")
    if images < 1:
        raise UserError(f"--images {images}: must be at least 1")
    told = _told(run, layers, plans, images, overrides)
    folder = Path(out) if out is not None else run.path / "plots"
    written = []
    for name in only or rooms.names("plots"):
        figure = rooms.load("plots", name)(told)
        if figure is None:
            say(f"{name}: nothing to draw: {NOTHING.get(name, 'there is nothing of it in this run')}")
            continue
        path = folder / f"{name}.{format}"
        with writing(f"--out {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            # The same picture of the same run, whenever it is drawn.
            figure.savefig(path, dpi=DPI, metadata={"Date": None} if format == "svg" else None)
        written.append(path)
    return written


def _told(run: RunDirectory, pattern: str, files: Sequence[str | Path], images: int, overrides: Sequence[str]) -> Told:
    prepared = prepare(run.read_spec(overrides))
    plan, data = read_recipe(run.plan)
    seen = observe(prepared, module_of(plan, data, run.model), images)
    layers = [layer for layer in seen if fnmatch(layer.name, pattern)]
    if not layers:
        raise UserError(f"--layers {pattern}: matches none of the network's layers; `pqsearch check` lists them")
    record: dict[str, Any] = run.read(run.checkpoints / "finetune.json") or {"plans": {}}
    roles = {role: Plan.from_json(found) for role, found in record["plans"].items() if found is not None}
    own = {"searched": plan, **{role: found for role, found in roles.items() if role.startswith("uniform")}}
    given = {name: plan_of(file, prepared.info) for name, file in _called(files, own).items()}
    groups = {name: group for name, group in _groups(prepared.info).items() if fnmatch(name, pattern)}
    return Told(prepared.spec.study.name, layers, steps_of(run, plan), {**own, **given}, groups)


def _called(files: Sequence[str | Path], taken: Container[str]) -> dict[str, str | Path]:
    """Files by the shortest ends of their paths that tell them apart."""
    paths = {Path(file).absolute(): file for file in files}
    found: dict[str, str | Path] = {}
    for path, file in paths.items():
        ends = (path.parts[-number:] for number in range(1, len(path.parts) + 1))
        alone = (end for end in ends if sum(other.parts[-len(end) :] == end for other in paths) == 1)
        found[next(name for end in alone if (name := "/".join(end)) not in taken)] = file
    return found


def _groups(info: ModelInfo) -> dict[str, str | None]:
    """The group of each layer's outputs."""
    return {
        layer.name: info.groups[layer.output].name if layer.output >= 0 and info.groups[layer.output].prunable else None
        for layer in info.layers
    }
