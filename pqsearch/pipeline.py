"""baseline -> search -> full fine-tune -> export -> report: each stage resumable, skippable, callable alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from cluster import local
from cluster.gang import check_processes
from cluster.nodes import check_nodes
from pqsearch import environment, rooms
from pqsearch.console import Progress
from pqsearch.errors import UserError
from pqsearch.finetunes import BASELINE, Job, finetune_all
from pqsearch.front import front_of
from pqsearch.hidden import hide_passwords
from pqsearch.journal.lock import Lock
from pqsearch.open_study import settings
from pqsearch.plan import Plan
from pqsearch.plan_file import read_recipe
from pqsearch.prepare import Prepared, prepare
from pqsearch.rebuild import module_of, recipe
from pqsearch.resolving import sweep
from pqsearch.run_dir import RunDirectory, writable, write_atomically
from pqsearch.spec import Spec, load_spec
from pqsearch.spec_network import FixedPointSpec
from pqsearch.store_session import Keeper, at_work
from pqsearch.study import read_study
from pqsearch.study_fold import asks_for_more
from pqsearch.summary import make_summary, warnings
from pqsearch.worker_time import worker_time

STAGES = ("baseline", "search", "finetune", "export", "fixed_point", "report")


class Pipeline:
    """The stages of one run. Construct it through `opened`, which locks the run directory."""

    def __init__(
        self, spec: Spec, run: RunDirectory, console: Progress, verbose: bool = False, keeper: Keeper | None = None
    ) -> None:
        self.spec = spec
        self.run = run
        self.console = console
        self.verbose = verbose
        self.keeper = keeper

    @cached_property
    def prepared(self) -> Prepared:
        return prepare(self.spec)

    @cached_property
    def nodes(self) -> None:
        """The nodes of a cluster, looked at once."""
        check_nodes(self.spec, self.run, self.console.line)
        check_processes(self.spec, self.console.line)

    def baseline(self) -> dict[str, Any]:
        """Train the float network, or adapt the weights the spec names, and test it once."""
        found = self.run.read(self.run.baseline_results)
        if found is not None and self.run.baseline.is_file():
            return found
        from trainers.baseline import train_baseline
        from trainers.device import pick, set_threads
        from trainers.full import select_and_test
        from trainers.measure import measure

        prepared, workers = self.prepared, self.spec.workers
        self.nodes  # noqa: B018  what workers will lack must show before anything is trained
        with self.stage("baseline"):
            set_threads(workers.count * workers.cpus)
            device = pick(workers.gpus)
            if self.spec.baseline.workers > 1 and self.spec.baseline.epochs and not self.run.baseline.is_file():
                from pqsearch.baselines import train_shared

                train_shared(self.spec, self.run, self.progress("baseline"), self.verbose)
            model = train_baseline(
                self.spec, prepared.dataset, prepared.splits, self.run.path, device, self.progress("baseline")
            )
            results = {
                **select_and_test(
                    model, prepared.dataset, prepared.splits, device, self.run.baseline_correct, prepared.task
                ),
                "measured": measure(model, prepared.dataset.input_shape),
            }
            self.run.write(self.run.baseline_results, results)
        return results

    def search(self) -> dict[str, Any]:
        """Search plans on Ray Tune; leaves the journal and the leading plan."""
        if not self._search_is_over():
            self.nodes  # noqa: B018
        self.run.begin_journal(self.spec.study.name)
        self.baseline()
        from pqsearch.tune.driver import search

        if not self.run.layers.is_file():
            self.run.write(self.run.layers, self.prepared.info.to_json())
        if self._search_is_over():
            return read_study(self.run.journal).progress()
        show, price = self.progress("search"), self.spec.workers.price
        with self.stage("search"):
            state = search(
                self.spec,
                self.run,
                self.prepared.info,
                _digest(self.run.baseline),
                lambda state: show({**state, "worker_hours": worker_time(state["worker_seconds"], 0.0, price)}),
                self.verbose,
            )
        if self.spec.study.costs:
            self.run.write(self.run.front, front_of(read_study(self.run.journal)))
        for rank, leader in enumerate(self._leaders(self.spec.finetune.top_k), start=1):
            self._write_plan(self.run.plans / f"searched-{rank}.json", Plan.from_json(leader["plan"]))
        return state

    def finetune(self, plan: str | Path | None = None) -> dict[str, Any]:
        """Fully fine-tune the leading plans and what they are compared with, or a plan from anywhere."""
        self.baseline()
        if plan is not None:
            jobs = [Job("searched", self._given(plan))]
        else:
            if not self._search_is_over():
                raise UserError(
                    f"{self.run.path}: the search is not finished; `pqsearch search` continues it, "
                    "or name a plan with --plan PLAN.json"
                )
            jobs = self._jobs()
        self.nodes  # noqa: B018
        with self.stage("finetune"):
            results = dict(finetune_all(self.spec, self.run, jobs, self.progress("finetune"), self.verbose))
        plans = {job.role: job.plan for job in jobs}
        candidates = [role for role in results if role.startswith("searched")]
        # The held-out slice of the training data picks; ties go to the plan that the search put first.
        chosen = max(candidates, key=lambda role: results[role]["select_accuracy"])
        chosen_plan = plans[chosen]
        assert chosen_plan is not None
        record = {
            "chosen": chosen,
            "given": str(plan) if plan is not None else None,
            "plans": {role: plan.to_json() if plan else None for role, plan in plans.items()},
            "results": results,
        }
        self.run.remove(self.run.model)  # weights of another plan must not stand beside this one
        self.run.write(self.run.checkpoints / "finetune.json", record)
        self._write_plan(self.run.plan, chosen_plan)
        return record

    def export(self) -> list[Path]:
        """Write the winner in every format asked for."""
        self._record()  # nothing fine-tuned yet is said here
        self.prepared  # noqa: B018  wrong formats and models must show before the stage begins
        with self.stage("export"):
            plan, data = read_recipe(self.run.plan)
            folder = Job("searched", plan).folder(self.run)
            model = module_of(plan, data, folder / "weights.pth")
            written = []
            for name in self.spec.export.formats:
                with writable(self.run.path):
                    written += rooms.load("exporters", name)(model, self.run.path)
        return written

    def fixed_point(self) -> dict[str, Any]:
        """Make the winner's copy in dynamic fixed point, as `[fixed_point]` says."""
        settings = self.spec.fixed_point
        if settings is None:
            raise UserError("fixed_point: is not in the spec; put [fixed_point] into it")
        if not self.run.model.is_file():
            self.export()
        from pqsearch.fixed_pointing import make

        with self.stage("fixed_point"):
            return make(self.prepared, self.run, settings, self.progress("fixed_point"))

    def report(self) -> Path:
        """Write summary.json and report.html from what the run has so far."""
        from pqsearch.report.page import render

        if self.run.read(self.run.baseline_results) is None:
            raise UserError(f"{self.run.path}: has nothing to report yet; `pqsearch run` begins with its baseline")
        summary, plans, values = make_summary(self.spec, self.run, self.prepared, self._record(required=False))
        study = read_study(self.run.journal) if self.run.journal.exists() else None
        self.run.write(self.run.summary, summary)
        self.run.write(self.run.layer_values, values)
        front = front_of(study) if study is not None and self.spec.study.costs else None
        sensitivity = study.probing.table() if study is not None and study.probing is not None else []
        self.run.write(self.run.sensitivity, sensitivity)
        expected = sweep(study, self.spec, self.prepared.info) if study is not None else []
        self.run.write(self.run.forecast, expected)
        page = render(
            summary,
            study.candidates() if study else [],
            self.prepared.info.to_json(),
            plans,
            hide_passwords(self.run.spec.read_text()),
            sensitivity,
            front,
            expected,
            self.spec.run_dir,
            values,
        )
        with writable(self.run.path):
            write_atomically(self.run.report, page)
        return self.run.report

    def all(self) -> dict[str, Any]:
        """The whole chain; what is done already is not done again."""
        self.prepared  # noqa: B018  all mistakes show before anything is trained
        self.search()
        if self._finetune_needed():
            self.finetune()
        if not self.run.model.is_file():
            self.export()
        if self.spec.fixed_point is not None and not self._fixed_point_made(self.spec.fixed_point):
            self.fixed_point()
        self.report()
        return self.run.read(self.run.summary)

    def _fixed_point_made(self, settings: FixedPointSpec) -> bool:
        from pqsearch.fixed_pointing import is_made

        return is_made(self.run, settings)

    def _finetune_needed(self) -> bool:
        record = self.run.read(self.run.checkpoints / "finetune.json")
        if record is None or not self.run.plan.is_file():
            return True
        if record["given"] is not None:
            return True
        return {job.role: job.hash for job in self._jobs()} != {
            role: Plan.from_json(plan).hash if plan else BASELINE for role, plan in record["plans"].items()
        }

    def _record(self, required: bool = True) -> dict[str, Any] | None:
        record = self.run.read(self.run.checkpoints / "finetune.json")
        if record is None and required:
            raise UserError(f"{self.run.path}: nothing is fine-tuned yet; `pqsearch finetune` does it")
        return record

    def _search_is_over(self) -> bool:
        if not self.run.journal.exists():
            return False
        state = read_study(self.run.journal)
        return state.finished and not asks_for_more(state.settings, asdict(settings(self.spec)))

    def _leaders(self, number: int) -> list[dict[str, Any]]:
        leaders = read_study(self.run.journal).leading(number)
        if not leaders:
            raise UserError(
                f"{self.run.path}: every evaluation failed; `pqsearch trials` says why. Lower the learning rate of "
                "[[rungs]] or loosen [budgets]"
            )
        return leaders

    def _jobs(self) -> list[Job]:
        study = read_study(self.run.journal)
        leaders = self._leaders(self.spec.finetune.top_k)
        names = ["searched", *(f"searched-{rank}" for rank in range(2, len(leaders) + 1))]
        jobs = [Job(name, Plan.from_json(leader["plan"])) for name, leader in zip(names, leaders, strict=True)]
        if self.spec.finetune.compare:
            for role in ("uniform", "uniform_filled"):
                found = study.best(role)
                if found is not None:
                    jobs.append(Job(role, Plan.from_json(found["plan"])))
            if self.spec.finetune.epochs:
                jobs.append(Job("baseline_finetuned", None))
        return jobs

    def _given(self, path: str | Path) -> Plan:
        plan, _ = read_recipe(path)
        self.prepared.space.encode(plan)  # names that the model does not have are refused here
        if self.spec.fixed_point is not None and self.spec.fixed_point.plan_bits:
            single = [name for name, bits in plan.layers.items() if min(bits.weight_bits, bits.act_bits) < 2]
            if single:
                raise UserError(
                    f"{path}: has 1 bit for {', '.join(single)}, which fixed_point.plan_bits would take over, and a step that is a "
                    "power of two has 2 to 16 bits; take false"
                )
        return plan

    def _write_plan(self, path: Path, plan: Plan) -> None:
        costs = self.prepared.space.costs_of(plan)
        self.run.write(path, {**recipe(self.spec, plan, self.prepared.dataset), "costs": costs})

    def progress(self, stage: str) -> Callable[[dict[str, Any]], None]:
        """What shows the states of a stage."""
        return lambda state: self.console.update({**state, "stage": stage, "budgets": dict(self.spec.budgets)})

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the seconds inside as those of a stage."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.run.add_seconds(name, time.monotonic() - started)
            if self.keeper is not None:
                self.keeper.push_soon()


@contextmanager
def opened(
    spec: Spec | str | Path, overrides: Sequence[str] = (), *, verbose: bool = False, quiet: bool = False
) -> Iterator[Pipeline]:
    """A pipeline on its run directory, locked for as long as the context lasts. A Ray that the program had joined before stays."""
    environment.set_defaults()
    joined = local.joined()
    spec = spec if isinstance(spec, Spec) else load_spec(spec, overrides)
    run = RunDirectory.of(spec)
    # What is wrong with data, model or budgets must show before a directory is made for it.
    prepared = prepare(spec)

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr)

    with ExitStack() as stack:
        keeper = stack.enter_context(at_work(run.store, spec.study.storage is not None, say))
        run.prepare(spec)
        lock = stack.enter_context(Lock(run.lock))
        if not joined:
            # Before the lock is given back: until then trainings may write. After the console's last word: Ray takes its time.
            stack.callback(_disconnect)
        console = stack.enter_context(Progress(log=run.logs / "pqsearch.log", quiet=quiet))
        if keeper is not None:
            keeper.say = console.line
        if lock.died:
            console.line(
                f"{lock.died} was killed: everything that it had finished is kept, and this command goes on there"
            )
        run.sweep()
        pipeline = Pipeline(spec, run, console, verbose, keeper)
        pipeline.__dict__["prepared"] = prepared
        for text in warnings(spec, len(prepared.splits.train)):
            console.line(f"warning: {text}")
        yield pipeline


def run(spec: Spec | str | Path, overrides: Sequence[str] = (), *, verbose: bool = False) -> dict[str, Any]:
    """The whole chain for a spec (a `Spec` or a file); returns the content of `summary.json`.

    Run again it continues where it was, or returns at once when it is finished. Raises `UserError`.
    """
    with opened(spec, overrides, verbose=verbose) as pipeline:
        return pipeline.all()


def bare_model(spec: Spec, prepared: Prepared) -> Any:
    """The float model of a spec with its weights, in eval mode: what `pqsearch evaluate SPEC` measures."""
    if not spec.model.weights:
        raise UserError(
            "model.weights: is required where a spec is no run yet; name a state dict, or give a run directory"
        )
    from trainers.baseline import initial_model

    return initial_model(spec, prepared.dataset).eval()


def _digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _disconnect() -> None:
    if local.joined():
        sys.modules["ray"].shutdown()
