"""Whether the nodes of a cluster can do what a run asks of them: looked at once, before anything is trained."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster import local
from pqsearch import environment
from pqsearch.errors import UserError
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import Spec
from pqsearch.spec_search import WorkersSpec

#: How lines begin that say what the cluster has; who submitted the job looks for them.
BEGUN = "cluster: "
#: Until a run says that it waits where there is room in principle, and between two such words.
TOLD_SECONDS = 60.0
#: A node that has not looked after so long has nothing to look with, or is gone.
LOOK_SECONDS = 180.0


def check_nodes(spec: Spec, run: RunDirectory, say: Callable[[str], None]) -> None:
    """Wait for a node that can hold a worker, then look at all that could. Raises `UserError`, and names the node.

    A Ray that the program has joined itself is waited for where it is taken; nothing happens on one that begins for the run.
    """
    if not os.environ.get("RAY_ADDRESS"):
        if local.joined() and not _free(spec.workers):
            _wait_for_room(spec.workers, say)
        return
    import ray

    local.connect(local.render(spec))
    _wait_for_room(spec.workers, say)
    nodes = [node for node in ray.nodes() if node["Alive"] and _fits(node["Resources"], spec.workers)]
    with _sign(run) as sign:
        answers = list(_look_everywhere(nodes, _paths(spec), run.where, sign))
    problems = [problem for name, answer in answers for problem in node_problems(name, answer, run.where)]
    if problems:
        raise UserError(problems)
    for name, answer in answers:
        for text in other_versions(name, answer["versions"]):
            say(f"warning: {text}")
    say(room_words([node["Resources"] for node in nodes], spec.workers))


def room(resources: Sequence[Mapping[str, float]], workers: WorkersSpec) -> int:
    """How many workers fit on nodes with these resources."""
    return sum(_fits(one, workers) for one in resources)


def room_words(resources: Sequence[Mapping[str, float]], workers: WorkersSpec) -> str:
    fitting = room(resources, workers)
    text = f"{BEGUN}room for {min(fitting, workers.count)} of {workers.count} workers on {_nodes(resources)}"
    return text if fitting >= workers.count else f"{text}; begins with these, takes more as they come"


def small_words(resources: Sequence[Mapping[str, float]], workers: WorkersSpec) -> str:
    """What is asked for, and what a cluster has that has no room for it now."""
    has = "; ".join(" ".join(f"{name} {one.get(name, 0):g}" for name in workers.wanted()) for one in resources)
    takes = [
        f"{workers.cpus:g} cpus",
        f"{workers.gpus:g} gpus",
        *(f"{n:g} {name}" for name, n in workers.resources.items()),
    ]
    return f"a worker takes {', '.join(takes[:-1])} and {takes[-1]}, the cluster has {_nodes(resources)} ({has})" + (
        "" if room(resources, workers) else "; none of them can hold one"
    )


def node_problems(name: str, answer: Mapping[str, Any], run: str) -> Iterator[str]:
    """What a node has said of itself, in lines for the user."""
    if error := answer.get("error"):
        yield f"workers: node {name} cannot work: {error}"
        return
    for key, path in answer["missing"]:
        yield f"{key}: {path} does not exist on node {name}; put it where all nodes see it and give that path"
    if answer.get("store"):
        yield f"{answer['store']} (on node {name}, which needs the same keys and the same way there as the others)"
    elif not answer["shared"]:
        yield (
            f"study.run_dir: what is written to {run} is not seen on node {name}; give a folder that all nodes share, with "
            "`pqsearch submit --runs DIR` or as an absolute path"
        )
    elif not answer["writable"]:
        yield f"study.run_dir: {run} may not be written to on node {name}; check the folder's permissions there"
    for package, version in answer["versions"].items():
        if version == "not installed" != environment.versions().get(package):
            yield f"workers: node {name} has no package {package}; install it there as it is installed here"


def other_versions(name: str, versions: Mapping[str, str]) -> list[str]:
    """Scores depend on versions: who mixes them should know."""
    here = environment.versions()
    return [
        f"node {name} has {package} {version}, the driver {here[package]}; scores may depend on who measures them"
        for package, version in versions.items()
        if package in here and version != here[package]
    ]


def _paths(spec: Spec) -> list[tuple[str, str]]:
    """What workers read themselves."""
    found = [
        ("data.root", spec.data.root),
        ("data.validation", spec.data.validation),
        ("model.folder", spec.model.folder),
        ("task.folder", spec.task.folder),
        ("algorithm.folder", spec.algorithm.folder),
    ]
    return [(key, path) for key, path in found if path is not None]


def _free(workers: WorkersSpec) -> bool:
    """Whether the Ray of this process has what a worker takes, as far as can be told without asking for it."""
    import ray

    return _fits(ray.available_resources(), workers) > 0


def _wait_for_room(workers: WorkersSpec, say: Callable[[str], None]) -> None:
    """Ask for what one worker takes, as a worker will: a cluster that can grow does, a busy one answers later."""
    import ray

    probe = ray.remote(**local.task_options(workers), max_retries=0)(_nothing).remote()
    began, told, pause = time.monotonic(), 0.0, 1.0
    while not ray.wait([probe], timeout=pause)[0]:
        waited = time.monotonic() - began
        resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        words = small_words(resources, workers)
        if workers.wait is not None and waited >= workers.wait:
            ray.cancel(probe, force=True)
            raise UserError(
                f"workers.wait: no room for a worker after {workers.wait:g} seconds: {words}; lower workers.cpus or "
                f"workers.gpus{' or workers.resources' if workers.resources else ''}, wait longer, or add nodes"
            )
        if waited - told >= TOLD_SECONDS or not (told or room(resources, workers)):
            say(f"{BEGUN}waits for room: {words}")
            told = waited
        pause = 5.0 if workers.wait is None else max(0.1, min(5.0, workers.wait - waited))


def _look_everywhere(
    nodes: Sequence[Mapping[str, Any]], paths: Sequence[tuple[str, str]], run: str, sign: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What each node says of itself, with the name that its owner knows it by."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(_look)
    answers = [
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            paths, run, sign
        )
        for node in nodes
    ]
    for node, answer in zip(nodes, answers, strict=True):
        name = f"{node['NodeManagerAddress']} ({node['NodeManagerHostname']}, {node['NodeID'][:8]})"
        try:
            yield name, ray.get(answer, timeout=LOOK_SECONDS)
        except ray.exceptions.RayError as error:
            words = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
            yield name, {"error": f"{words[:200]}; it needs the same Ray, Python and packages as the others"}


def _look(paths: Sequence[tuple[str, str]], run: str, sign: str) -> dict[str, Any]:
    """On a node: what is there."""
    return {
        "missing": [(key, path) for key, path in paths if not Path(path).exists()],
        **_look_at(RunDirectory(run), sign),
        "versions": environment.versions(),
    }


def _look_at(run: RunDirectory, sign: str) -> dict[str, Any]:
    """Whether a node sees what was written to the run directory, and may write there itself."""
    if run.store is None:
        return {"shared": (run.path / sign).is_file(), "writable": os.access(run.scratch, os.W_OK)}
    try:
        run.store.objects.check()
        return {"shared": run.store.objects.look(sign) is not None, "writable": True}
    except UserError as error:
        return {"store": str(error)}


@contextmanager
def _sign(run: RunDirectory) -> Iterator[str]:
    """The name of a file in the run directory that is there for as long as the context lasts."""
    name = f"scratch/seen-{uuid.uuid4().hex}"
    if run.store is not None:
        run.store.objects.write(name, b"")
        try:
            yield name
        finally:
            run.store.objects.remove(name)
        return
    try:
        (run.path / name).write_text("")
    except OSError as error:
        raise UserError(f"study.run_dir: cannot write in {run.path} ({error.strerror}); give another folder") from None
    try:
        yield name
    finally:
        (run.path / name).unlink(missing_ok=True)


def _nodes(resources: Sequence[object]) -> str:
    return "1 node" if len(resources) == 1 else f"{len(resources)} nodes"


def _nothing() -> None:
    """It needs no more than a place to run."""


def _fits(resources: Mapping[str, float], workers: WorkersSpec) -> int:
    """Workers on one node."""
    wanted = workers.wanted().items()
    return min(int(resources.get(name, 0.0) / number + 1e-9) for name, number in wanted if number)
