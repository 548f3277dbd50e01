"""The run directory: the one place that knows what a run leaves behind and what each file is called."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from pqsearch.environment import run_folder
from pqsearch.errors import UserError
from pqsearch.journal.lock import Lock
from pqsearch.journal.place import DatabasePlace, FilePlace, Place
from pqsearch.latency_file import digest
from pqsearch.same_spec import differences
from pqsearch.spec import Spec, load_spec
from pqsearch.spec_search import LatencySpec
from pqsearch.store import results, store_of
from pqsearch.store_url import is_url

#: Temporary names of files being written, as `tempfile` makes them.
HALF_WRITTEN = ".*-????????"
#: What the network of a run was made with.
NETWORK_KEYS = ("model", "quantizer", "space.sparsity_pattern")


def write_atomically(path: Path, content: str | bytes, *, private: bool = False) -> None:
    """Readers see the old file or the whole new one, also after a power cut. One that is `private` is its owner's only.

    A link stays, and what it leads to is written; what is there and no file, as a pipe or a terminal, gets the content itself.
    """
    data = content.encode() if isinstance(content, str) else content
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(data)
        return
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if not private:
            # mkstemp makes private files; results are for everyone the user's umask lets in.
            umask = os.umask(0)
            os.umask(umask)
            Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def append_line(path: Path, line: str) -> None:
    """The whole line or nothing of it, whatever the disk refuses; the file has one writer."""
    data = f"{line}\n".encode()
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            while data:  # a disk that fills up takes a part, and says why only when asked to take the rest
                data = data[file.write(data) :]
        except OSError:
            file.truncate(before)
            raise


def is_run(target: str | Path) -> bool:
    """Whether a command that takes a run directory or a spec is given the former."""
    return is_url(target) or Path(target).is_dir()


class RunDirectory:
    """Paths of a run, its JSON files read and written, and where its journal is.

    `path` may be its address in a store: then the paths are those of this machine's copy.
    """

    def __init__(self, path: str | Path) -> None:
        self.store = store_of(path)
        self.path = Path(path).absolute() if self.store is None else self.store.folder
        self.spec = self.path / "spec.toml"
        self.layers = self.path / "layers.json"
        self.latency = self.path / "latency.json"  # a copy of the table that the spec names
        self.journal_file = self.path / "journal.jsonl"
        self.database = self.path / "database.json"  # the key of the run's study, where a database holds its journal
        self.lock = self.path / "run.lock"
        self.front = self.path / "front.json"
        self.forecast = self.path / "forecast.json"
        self.correlation = self.path / "correlation.json"
        self.sensitivity = self.path / "sensitivity.json"
        self.optuna = self.path / "optuna.log"
        self.tensorboard = self.path / "tensorboard"
        self.baseline = self.path / "baseline.pth"
        self.baseline_correct = self.path / "baseline-correct.npy"
        self.baseline_progress = self.path / "baseline-progress.json"  # while several processes train it
        self.baseline_results = self.path / "baseline.json"
        self.plan = self.path / "plan.json"
        self.plans = self.path / "plans"
        self.model = self.path / "model.pth"
        self.summary = self.path / "summary.json"
        self.layer_values = self.path / "layer_values.json"
        self.report = self.path / "report.html"
        self.stages = self.path / "stages.json"
        self.given = self.path / "given"  # what `pqsearch.compress` had in memory
        self.logs = self.path / "logs"
        self.scratch = self.path / "scratch"
        self.checkpoints = self.path / "checkpoints"
        self.fetched = self.path / "fetched.json"  # in a copy that was brought from a cluster: from where

    def finetune(self, role: str, plan_hash: str) -> Path:
        """Folder of one full fine-tune: its checkpoint, weights, result and per-image correctness."""
        return self.checkpoints / f"{role}-{plan_hash}"

    def finetuned(self) -> list[dict[str, Any]]:
        """Results of the full fine-tunes that are finished, whoever asked for them."""
        return [self.read(path) for path in sorted(self.checkpoints.glob("*/result.json"))]

    @classmethod
    def of(cls, spec: Spec) -> RunDirectory:
        return cls.named(spec.run_dir)

    @classmethod
    def named(cls, where: str) -> RunDirectory:
        """By what a spec calls it: an address in a store, or a folder, which on a cluster is below that of all runs."""
        return cls(where if is_url(where) else run_folder(where))

    @property
    def holds_run(self) -> bool:
        """Whether a run was begun in this machine's folder."""
        return self.spec.is_file() and self.logs.is_dir()

    @property
    def where(self) -> str:
        """What leads any machine to it, as `study.run_dir` does."""
        return str(self.path) if self.store is None else self.store.url

    def below(self, name: str) -> str:
        """As `where`, of a run directory of its own below this one."""
        return str(self.path / name) if self.store is None else self.store.below(name)

    def push(self) -> None:
        """Take what has changed to the store, if there is one."""
        if self.store is not None:
            self.store.push()

    def bring(self, *names: str) -> None:
        """What a machine needs of the run to work on it: files of these names (or below them) as they are in the store."""
        if self.store is not None:
            self.store.pull(lambda name: name.startswith(names), theirs=True)
            with writable(self.path):
                for folder in (self.logs, self.scratch):
                    folder.mkdir(exist_ok=True)

    def remove(self, path: Path) -> None:
        """A file of the run, wherever it is."""
        if self.store is not None:
            self.store.forget(path.relative_to(self.path).as_posix())
        path.unlink(missing_ok=True)

    @cached_property
    def journal(self) -> Place:
        """Where the journal is, as the run's spec says."""
        storage = self.read_spec().study.storage if self.spec.is_file() else None
        if storage is None:
            return FilePlace(self.journal_file)
        note = self.read(self.database)
        return DatabasePlace(storage, note["study"] if note is not None else None)

    def begin_journal(self, name: str) -> None:
        """Make sure that the journal of a study can be kept: whatever is in the way shows before anything is paid for."""
        study = self.journal.begin(name)
        if study is not None and not self.database.is_file():
            self.write(self.database, {"study": study})
            self.push()  # who does not find the key begins another study, and pays again
        self._forget_journal()

    def _forget_journal(self) -> None:
        self.__dict__.pop("journal", None)

    @classmethod
    def existing(cls, path: str | Path) -> RunDirectory:
        """A run directory that holds a run, else a `UserError`."""
        run = cls(path)
        if run.store is not None and run.store.objects.look(run.spec.name) is not None:
            run.store.pull(results)
            with writable(run.path):
                run.logs.mkdir(exist_ok=True)
        if not run.holds_run:
            raise UserError(
                f"{path}: is not a run directory (it has no spec.toml and logs/); `pqsearch run SPEC` makes one"
            )
        return run

    def read_spec(self, overrides: Sequence[str] = ()) -> Spec:
        """The spec of the run, with the run's own copy of its table of latencies, and `overrides` of what is not its network.

        Raises `UserError` for those that would make another network, as that comes from the run's plan.
        """
        spec = load_spec(self.spec, overrides)
        if overrides:
            problems = [
                f"{key}: the run in {self.path} has {had}, --set says {has}, but its network stays as it is; leave that out"
                for key, had, has in differences(load_spec(self.spec), spec)
                if key.startswith(NETWORK_KEYS)
            ]
            if problems:
                raise UserError(problems)
        if spec.latency.table is None or not self.latency.is_file():
            return spec
        return spec.model_copy(update={"latency": LatencySpec(table=str(self.latency))})

    def prepare(self, spec: Spec) -> None:
        """Make the directory for `spec`, or check that it was made by the same one. Overwrites nothing."""
        with writable(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            if self._unused():
                self.remove(self.latency)
            elif self.spec.exists():
                self.compare(spec)
            # A hidden file is what a kill in this very place left of spec.toml.
            elif any(path != self.given and not path.name.startswith(".") for path in self.path.iterdir()):
                raise UserError(
                    f"study.run_dir: {self.path} is not empty and holds no run; give an empty or a new folder"
                )
            self._forget_journal()
            self.fetched.unlink(missing_ok=True)  # it goes its own way from here: nothing may be fetched over it
            # A password may stand in it, which is not for everyone who may look at a run.
            private = spec != spec.without_passwords()
            write_atomically(self.spec, spec.to_toml(), private=private)
            if spec.latency.table is not None and not self.latency.is_file():
                write_atomically(self.latency, Path(spec.latency.table).read_bytes())
            for folder in (self.logs, self.scratch, self.checkpoints, self.plans):
                folder.mkdir(exist_ok=True)

    def _unused(self) -> bool:
        """A run was begun here and nothing came of it, as when data are not where its spec says: another spec mends that."""
        if not self.spec.is_file() or not self.lock.is_file():
            return False
        made = {self.spec, self.latency, self.lock, self.logs / "pqsearch.log"}
        found = (path for path in self.path.rglob("[!.]*") if self.given not in path.parents)
        if any(path.is_file() and path not in made for path in found):
            return False
        try:
            with Lock(self.lock, wait_seconds=0.0):
                return True
        except UserError:
            return False  # somebody is about to make something of it

    def sweep(self) -> None:
        """Remove what killed writers left half written. For the holder of the lock only: nobody else is writing then."""
        for path in self.path.rglob(HALF_WRITTEN):
            # The spec is written before the lock is taken, perhaps by somebody who will not get it.
            if not path.name.startswith(f".{self.spec.name}-"):
                path.unlink(missing_ok=True)

    def compare(self, spec: Spec) -> None:
        """Refuse a spec that asks for something else than the run here was made with."""
        problems = [
            f"{key}: the run in {self.path} has {had}, the spec {has}; use that value or another study.run_dir"
            for key, had, has in differences(self.read_spec(), spec)
        ]
        problems += self._other_latencies(spec)
        if spec.study.storage is None and self.database.is_file():
            problems.append(
                f"study.storage: the journal of the run in {self.path} is in a database, the spec names none; "
                "name it or use another study.run_dir"
            )
        if spec.study.storage is not None and self.journal_file.is_file():
            problems.append(
                f"study.storage: the journal of the run in {self.path} is a file, the spec names a database; "
                "leave it out or use another study.run_dir"
            )
        if problems:
            raise UserError(problems)

    def _other_latencies(self, spec: Spec) -> Iterator[str]:
        """Costs by other measurements are not those of the plans that were evaluated."""
        before, now = load_spec(self.spec).latency.table, spec.latency.table
        if (before is None) != (now is None):
            had, has = ("none" if path is None else repr(path) for path in (before, now))
            yield f"latency.table: the run in {self.path} has {had}, the spec {has}; use that or another study.run_dir"
        elif now is not None and self.latency.is_file() and digest(now) != digest(self.latency):
            yield (
                f"latency.table: the measurements in {now} are not those that the run in {self.path} was made with; use "
                f"{self.latency} or another study.run_dir"
            )

    def take_baseline(self, other: RunDirectory) -> None:
        """Begin from the baseline of another run; what is here already stays."""
        for name in ("baseline", "baseline_results", "baseline_correct"):
            source, target = getattr(other, name), getattr(self, name)
            if source.is_file() and not target.is_file():
                with writable(self.path):
                    shutil.copy2(source, target)

    def read(self, path: Path) -> Any:
        """A JSON file of the run, None if it is not there yet."""
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except json.JSONDecodeError as error:
            raise UserError(f"{path}: is damaged ({error}); remove it and run the same command again") from None

    def glance(self, path: Path) -> Any:
        """A JSON file that only shows how far something is: None where it cannot be read either, for there is a next time."""
        try:
            return self.read(path)
        except UserError:
            return None

    def write(self, path: Path, value: Any) -> None:
        with writable(self.path):
            write_atomically(path, json.dumps(value, indent=2, sort_keys=False) + "\n")

    def add_seconds(self, stage: str, seconds: float) -> None:
        """Stages resumed several times add up."""
        stages: Mapping[str, float] = self.read(self.stages) or {}
        self.write(self.stages, {**stages, stage: stages.get(stage, 0.0) + seconds})


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turn what a read-only or full disk raises into one line."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"study.run_dir: cannot write in {path} ({error.strerror or error}); mend that and the same command continues, "
            "or give another folder"
        ) from None
