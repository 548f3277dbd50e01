"""The full fine-tunes of a run, as many at once as there are workers; each resumes from its own checkpoint."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from cluster import local
from pqsearch import ranks
from pqsearch.errors import SearchAborted, UserError
from pqsearch.plan import Plan
from pqsearch.run_dir import RunDirectory, write_atomically
from pqsearch.spec import Spec, parse_spec
from pqsearch.store import Store

if TYPE_CHECKING:
    import torch

    from trainers.distributed import World
    from trainers.proxy import Context

POLL_SECONDS = 1.0
#: Where machines share no disk: how often how far trainings are is asked for, and how often one takes its checkpoint there.
NEWS_SECONDS, PUSH_SECONDS = 10.0, 20.0
#: How long what a training has made waits for a store that does not answer.
PATIENCE_SECONDS, AGAIN_SECONDS = 900.0, 10.0
BASELINE = "float"  # stands for a plan's hash in folder names


@dataclass(frozen=True)
class Job:
    """One full fine-tune: `plan` None is the float baseline given the same training."""

    role: str
    plan: Plan | None

    @property
    def hash(self) -> str:
        return self.plan.hash if self.plan else BASELINE

    def folder(self, run: RunDirectory) -> Path:
        # By plan, not by role: a plan that is both searched and uniform is trained once.
        return run.finetune("plan" if self.plan else "baseline", self.hash)


def finetune_all(
    spec: Spec,
    run: RunDirectory,
    jobs: list[Job],
    progress: Callable[[dict[str, Any]], None],
    verbose: bool = False,
    *,
    finished: Callable[[Job, dict[str, Any]], None] = lambda job, result: None,
    failed: Callable[[Job, UserError], None] | None = None,
) -> Mapping[str, dict[str, Any]]:
    """Results by role. Finished ones are read, not repeated; the rest runs on Ray.

    `finished` hears of each as it is there. A training that diverges raises, or goes to `failed` and has no result.
    """
    unique = {job.folder(run): job for job in jobs}
    results = {folder: found for folder in unique if (found := run.read(folder / "result.json")) is not None}
    for folder, found in results.items():
        finished(unique[folder], found)
    todo = [job for folder, job in unique.items() if folder not in results]
    if todo:
        run.push()  # from where every machine brings the baseline to itself
        local.connect(local.render(spec, verbose))
        waiting = deque(todo)
        pending: dict[Any, Job] = {}
        at_once = len(todo) if spec.finetune.workers == 1 else spec.finetunes_at_once
        bring = bringer(run, lambda name: name.endswith("/progress.json"))
        while waiting or pending:
            while waiting and len(pending) < at_once:
                job = waiting.popleft()
                pending[_begin(spec, run, job)] = job
            done, _ = ray.wait(list(pending), timeout=POLL_SECONDS)
            for reference in done:
                job = pending.pop(reference)
                try:
                    results[job.folder(run)] = result_of(reference, f"the fine-tune of {job.role}")
                except UserError as error:
                    if failed is None:
                        raise
                    failed(job, error)
                else:
                    run.bring(_name(run, job))
                    finished(job, results[job.folder(run)])
            bring()
            left = {job.role for job in (*pending.values(), *waiting)}
            _tell(progress, run, todo, left, len(pending), spec.finetune.epochs)
    return {job.role: {**results[job.folder(run)], "role": job.role} for job in jobs if job.folder(run) in results}


def _begin(spec: Spec, run: RunDirectory, job: Job) -> Any:
    """A Ray reference to the result of a job."""
    plan = job.plan.to_json() if job.plan else None
    if spec.finetune.workers == 1:
        task = ray.remote(**local.task_options(spec.workers), max_retries=3)(_finetune)
        return task.options(name=f"finetune {job.role}").remote(spec.to_dict(), run.where, job.role, plan)
    config = {"spec": spec.without_passwords().to_dict(), "run": run.where, "role": job.role, "plan": plan}
    return ranks.begin(_finetune_shared, config, spec.workers, spec.finetune.workers, run, f"finetune-{job.role}")


def _name(run: RunDirectory, job: Job) -> str:
    """A job's folder, as it is called in a store."""
    return f"{job.folder(run).relative_to(run.path).as_posix()}/"


def result_of(reference: Any, what: str) -> Any:
    """What a training gives. Raises the `UserError` that ended it, and `SearchAborted`, which names it as `what`, for all else."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise SearchAborted(f"{what} failed: {error.cause}") from error


def bringer(run: RunDirectory, wanted: Callable[[str], bool]) -> Callable[[], None]:
    """What brings the files of these names from the store now and then, to show how far trainings elsewhere are."""
    looked = time.monotonic()

    def bring() -> None:
        nonlocal looked
        if run.store is not None and time.monotonic() - looked >= NEWS_SECONDS:
            looked = time.monotonic()
            with suppress(UserError):  # it is a matter of showing, and there is a next time
                run.store.pull(wanted, theirs=True)

    return bring


def _tell(
    progress: Callable[[dict[str, Any]], None],
    run: RunDirectory,
    todo: list[Job],
    left: set[str],
    begun: int,
    epochs: int,
) -> None:
    each = epochs or 1  # what is reconstructed and not trained is counted by plans
    done, heard = 0.0, 0
    latest: dict[str, Any] = {}
    for job in todo:
        if job.role not in left:
            done += each
        elif seen := run.glance(job.folder(run) / "progress.json"):
            latest, heard = {**seen, "role": job.role}, heard + 1
            done += seen.get("done", 0) if epochs else _reconstructed(seen)
    whole = {"total": each * len(todo), **({} if epochs else {"unit": "plans"})}
    # Of those that were handed to Ray some wait for a free processor.
    progress({**latest, "stage": "finetune", "done": done, **whole, "running": min(begun, heard)})


def _reconstructed(seen: Mapping[str, Any]) -> float:
    """The share of a plan's blocks; what is heard after the last one says nothing of blocks."""
    done, total = seen.get("reconstructed", (1, 1))
    return float(done / total)


def _finetune(spec_values: dict[str, Any], run_dir: str, role: str, plan: dict[str, Any] | None) -> dict[str, Any]:
    """Runs in a Ray worker process."""
    from trainers.device import pick
    from trainers.full import finetune

    spec, run = parse_spec(spec_values), RunDirectory(run_dir)
    job = Job(role, Plan.from_json(plan) if plan else None)
    context = _context(spec, run, job, pick(spec.workers.gpus))
    folder, within = job.folder(run), _name(run, job)
    note = noter(run, folder / "progress.json", within)
    result = finetune(context, role, job.plan, folder, spec.finetune, note)
    if run.store is not None:
        hand_in(run.store, within)
    return result


def _finetune_shared(config: dict[str, Any]) -> dict[str, Any]:
    """Runs in each of the processes that share a training."""
    from trainers.full import finetune

    spec, run = parse_spec(config["spec"]), RunDirectory(config["run"])
    job = Job(config["role"], Plan.from_json(config["plan"]) if config["plan"] else None)
    folder, within = job.folder(run), _name(run, job)
    note = noter(run, folder / "progress.json", within)

    def prepare(world: World, device: torch.device) -> Context:
        return _context(spec, run, job, device)

    def train(world: World, context: Context) -> dict[str, Any]:
        result = finetune(context, job.role, job.plan, folder, spec.finetune, note, world)
        if run.store is not None and world.first:
            hand_in(run.store, within)
        return result

    return ranks.in_rank(prepare, train)


def _context(spec: Spec, run: RunDirectory, job: Job, device: torch.device) -> Context:
    """What a process needs for a job, on a machine that may have nothing of the run yet."""
    from pqsearch.prepare import load_data
    from trainers.device import set_threads
    from trainers.proxy import make_context

    run.bring(run.baseline.name, _name(run, job))
    set_threads(spec.workers.cpus)
    dataset, splits = load_data(spec)
    context = make_context(spec, dataset, splits, run.baseline, run.scratch, device)
    job.folder(run).mkdir(parents=True, exist_ok=True)
    return context


def noter(run: RunDirectory, path: Path, within: str) -> Callable[[dict[str, Any]], None]:
    """What writes down in a file how far a training is, and takes what it has made to the store now and then: files whose names begin
    with `within`.
    """
    started = pushed = time.monotonic()

    def note(state: dict[str, Any]) -> None:
        nonlocal pushed
        write_atomically(path, json.dumps({**state, "seconds": time.monotonic() - started}))
        if run.store is not None and time.monotonic() - pushed >= PUSH_SECONDS:
            with suppress(UserError):  # the training goes on; what it leaves is taken there when the store answers
                run.store.push(lambda name: name.startswith(within))
            pushed = time.monotonic()

    return note


def hand_in(store: Store, within: str) -> None:
    """Take what a training has made to the store, as soon as it answers. Raises `UserError` when it does not for long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return store.push(lambda name: name.startswith(within))
        except UserError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(AGAIN_SECONDS)
