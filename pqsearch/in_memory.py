"""A model, data, loss and metric that a program holds in memory, searched like those that a spec names.

Workers are other processes, perhaps on other machines, and a run outlives the program. So all that is given is put down in the
run directory first: the network as Python code, its weights, the images as arrays. Then it is a run like any other.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap

from pqsearch.errors import UserError
from pqsearch.pipeline import run
from pqsearch.run_dir import RunDirectory, writable, write_atomically
from pqsearch.spec import Spec, parse_spec, raw_spec, resolve_paths
from pqsearch.store_url import is_url
from trainers import files
from trainers.as_code import rebuilt, source_of
from trainers.baseline import plain
from trainers.datasets._given import class_names, given_arrays, is_scaled
from trainers.datasets.arrays import CLASSES

#: What a spec leaves out, since it is given.
_GIVEN = {"model": ("name", "options", "weights", "folder"), "data": ("name", "root", "folder", "validation")}
#: How much of a digest names a file.
_DIGITS = 16


def compress(
    model: Any,
    train: Any,
    test: Any,
    spec: str | Path | Mapping[str, Any],
    *,
    loss: Callable[..., Any] | None = None,
    metric: Callable[..., Any] | None = None,
    verbose: bool = False,
) -> dict[str, Any]:
    """The whole chain for a `torch.nn.Module` with its weights; returns the content of `summary.json`.

    `train` and `test` are each a pair of images (N, C, H, W) and labels (N,), a map-style dataset, or a loader of one. Images
    are bytes, or what `ToTensor` makes of them (0 to 1): then the network gets them as they are, or normalised by `[data] mean` and
    `std` where these say that the given ones were. `spec` is a file or a mapping without `[model] name` and `[data] name`; `loss` and
    `metric` are functions of a module, called as `[task]` says. All that is given is put into `given/` in the run directory.

    Called again with the same it continues, or returns at once. Raises `UserError`.
    """
    values = _values(spec, loss, metric)
    # All that is wrong with the spec shows before an image is looked at.
    checked = parse_spec(_filled(values, "network:network", Path("weights.pth"), Path("data"), {}))
    if is_url(checked.run_dir):
        raise UserError(
            f"study.run_dir: must be a folder where things are given from memory, got {checked.run_dir}; name one that all nodes see"
        )
    given = RunDirectory(checked.run_dir).given
    with writable(given):
        given.mkdir(parents=True, exist_ok=True)
        data, statistics = _put_data(given, train, test, checked)
        name, weights = _put_model(given, model, data)
    return run(parse_spec(_filled(values, name, weights, data, statistics)), verbose=verbose)


def _values(spec: str | Path | Mapping[str, Any], loss: Any, metric: Any) -> dict[str, Any]:
    """What the spec says, with its paths, and with loss and metric."""
    if isinstance(spec, Mapping):
        values, folder = copy.deepcopy(dict(spec)), Path.cwd()
    else:
        values, folder = raw_spec(Path(spec))[0], Path(spec).absolute().parent
    problems = [
        f"{section}.{key}: comes with what is given, got {values[section][key]!r}; leave it out"
        for section, keys in _GIVEN.items()
        for key in keys
        if isinstance(values.setdefault(section, {}), dict) and key in values[section]
    ]
    task = values.get("task", {})
    for key, function in (("loss", loss), ("metric", metric)):
        if function is not None and isinstance(task, dict):
            try:
                task[key], where = _named(function, key)
            except UserError as error:
                problems += error.problems
                continue
            if task.setdefault("folder", where) != where:
                problems.append(
                    f"task.{key}: must stand in {task['folder']}, where the rest of [task] is, not in {where}; move it there"
                )
            values["task"] = task
    if problems:
        raise UserError(problems)
    resolve_paths(values, folder)
    return values


def _filled(
    values: Mapping[str, Any], network: str, weights: Path, data: Path, statistics: Mapping[str, Any]
) -> dict[str, Any]:
    """The values of a whole spec."""
    found = copy.deepcopy(dict(values))
    if isinstance(found["model"], dict):
        found["model"] |= {"name": network, "weights": str(weights), "folder": str(weights.parent)}
    if isinstance(found["data"], dict):
        found["data"] |= {"name": "arrays", "root": str(data), **statistics}
    return found


def _named(function: Any, key: str) -> tuple[str, str]:
    """`module:function`, and the folder where others find the module."""
    name = getattr(function, "__qualname__", "<>")
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    if (
        (not inspect.isroutine(function) and not inspect.isclass(function))
        or "<" in name
        or "." in name
        or file is None
    ):
        raise UserError(
            f"task.{key}: workers must be able to import it, got {function!r}; define it at the top of a file of its own"
        )
    assert module is not None
    if module.__name__ == "__main__":
        return f"{Path(file).stem}:{name}", str(Path(file).absolute().parent)
    depth = module.__name__.count(".") + (Path(file).stem == "__init__")
    return f"{module.__name__}:{name}", str(Path(file).absolute().parents[depth])


def _put_model(given: Path, model: Any, data: Path) -> tuple[str, Path]:
    """Write code and weights; the code's `module:function`, and the weights' file."""
    if not isinstance(model, torch.nn.Module):
        raise UserError(f"model: must be a torch.nn.Module, got {type(model).__name__}")
    shape = np.load(data / "train_images.npy", mmap_mode="r").shape[1:]
    source = source_of(model, shape)
    # Two networks of one process must not be taken for each other, nor two in one folder overwrite each other.
    module = f"network_{hashlib.sha256(source.encode()).hexdigest()[:_DIGITS]}"
    write_atomically(given / f"{module}.py", source)
    state, digest = plain(rebuilt(source, model)), hashlib.sha256()
    for tensor in state.values():
        digest.update(tensor.numpy().tobytes())
    weights = given / f"weights-{digest.hexdigest()[:_DIGITS]}.pth"
    files.save(state, weights)
    return f"{module}:network", weights


def _put_data(given: Path, train: Any, test: Any, spec: Spec) -> tuple[Path, dict[str, list[float]]]:
    """Write the images; the folder they are in, and `mean` and `std` where the network saw them otherwise than as bytes."""
    mean, std = (spec.data.options.get(key) for key in ("mean", "std"))
    names = class_names(train) or class_names(test)
    digest = hashlib.sha256(repr(names).encode())
    with _new_folder(given) as folder:
        for part, words, source in (("train", "training data", train), ("test", "test data", test)):
            images, labels = given_arrays(source, mean, std, words, _on_disk(folder / f"{part}_images.npy"))
            np.save(folder / f"{part}_labels.npy", labels)
            digest.update(images.data)
            digest.update(labels.data)
        if names is not None:
            (folder / CLASSES).write_text("".join(f"{name}\n" for name in names))
        channels = images.shape[1]
        del images  # all of it is on disk
        target = given / f"data-{digest.hexdigest()[:_DIGITS]}"
        if not target.exists():
            folder.rename(target)
    as_given = {"mean": [0.0] * channels, "std": [1.0] * channels}
    return target, as_given if mean is None and std is None and is_scaled(train, "training data") else {}


def _on_disk(path: Path) -> Callable[[tuple[int, ...]], Any]:
    return lambda shape: open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)


@contextmanager
def _new_folder(parent: Path) -> Iterator[Path]:
    """An empty one, gone afterwards unless it was renamed."""
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=".data-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
