"""summary.json: every number of a run in one place, each accuracy with its images and its error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pqsearch import environment
from pqsearch.finetunes import Job
from pqsearch.fixed_pointing import FixedPointPaths, is_made
from pqsearch.layer_values import layer_values
from pqsearch.plan import Plan
from pqsearch.prepare import Prepared
from pqsearch.rebuild import module_of, recipe
from pqsearch.report.correlation import rung_correlations
from pqsearch.report.verdict import BY_TABLE, paired_difference, verdict
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import Spec
from pqsearch.study import read_study
from pqsearch.study_problems import unbred
from pqsearch.study_state import COMPARED
from pqsearch.worker_time import worker_time_of

PAIRS = (
    ("searched", "uniform"),
    ("searched", "uniform_filled"),
    ("searched", "baseline"),
    ("searched", "baseline_finetuned"),
    ("uniform", "baseline"),
    ("uniform_filled", "baseline"),
    ("uniform_filled", "uniform"),
    ("baseline_finetuned", "baseline"),
    ("fixed_point", "searched"),
    ("fixed_point", "baseline"),
)
ROLES = ("baseline", "baseline_finetuned", "searched", "uniform", "uniform_filled")


def make_summary(
    spec: Spec, run: RunDirectory, prepared: Prepared, record: Mapping[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The summary, the plans behind its roles as JSON, and the winner's `layer_values` (of no layers before there is one).

    Costs are measured on the rebuilt modules, `latency_ms` comes from the table.
    """
    baseline = run.read(run.baseline_results)
    summary: dict[str, Any] = {
        "format": 1,
        "name": spec.study.name,
        "seed": spec.study.seed,
        "budgets": dict(spec.budgets),
        "seconds": run.read(run.stages) or {},
        "versions": environment.versions(),
        "hardware": environment.hardware(),
        "workers": spec.workers.model_dump(),
        **_task(spec),
        "quantizer": {"name": spec.quantizer.name, **spec.quantizer.options},
        "warnings": warnings(spec, len(prepared.splits.train)),
        **_search_facts(run, spec.workers.price),
        "baseline": {
            **_accuracies(baseline),
            **_costs(baseline["measured"], baseline["measured"]),
            **_by_table(prepared, Plan()),
        },
    }
    plans: dict[str, Any] = {}
    values: dict[str, Any] = {"layers": [], "steps": []}
    correct = {"baseline": np.load(run.baseline_correct)}
    recorded = record["plans"] if record else {}
    for role, result in _roles(record).items():
        plan = recorded[result["role"]]
        job = Job(role, Plan.from_json(plan) if plan else None)
        folder = job.folder(run)
        if job.plan is None:
            measured = baseline["measured"]
        else:
            from trainers.measure import measure

            module = module_of(job.plan, recipe(spec, job.plan, prepared.dataset), folder / "weights.pth")
            measured = measure(module, prepared.dataset.input_shape)
            plans[role] = job.plan.to_json()
            if role == "searched":
                values = layer_values(prepared, run, job.plan, module)
        summary[role] = {
            **_accuracies(result),
            **_costs(measured, baseline["measured"]),
            **_by_table(prepared, job.plan or Plan()),
            "plan_hash": job.plan.hash if job.plan else None,
            "seconds": result.get("seconds"),
        }
        correct[role] = np.load(folder / "correct.npy")
    fixed = _fixed_point(spec, run)
    if fixed is not None and "searched" in summary:
        summary["fixed_point"] = {
            **_accuracies(fixed),
            **_costs(fixed["measured"], baseline["measured"]),
            **{key: value for key, value in summary["searched"].items() if key in BY_TABLE},
            "integer": fixed.get("integer"),
        }
        correct["fixed_point"] = np.load(FixedPointPaths.of(run).correct)
    summary["differences"] = {
        f"{a} - {b}": paired_difference(correct[a], correct[b]) for a, b in PAIRS if a in correct and b in correct
    }
    summary["verdict"] = verdict(summary)
    return summary, plans, values


def warnings(spec: Spec, train_images: int) -> list[str]:
    """What a reader must know before trusting the numbers; so many images are left for training."""
    found = [
        f"{key}: {wanted} images are asked for, the training images are {train_images}; all of them are taken."
        for key, wanted in _samples(spec)
        if wanted > train_images
    ]
    if spec.model.weights and not spec.data.validation:
        found.append(
            "The weights came from outside and may have been trained on the images that score and select plans: "
            "those accuracies are optimistic (the test accuracies are not). [data] validation names a folder of your own."
        )
    early = unbred(spec.algorithm.name, spec.algorithm.options, spec.study.evaluations)
    return [*found, early] if early else found


def _samples(spec: Spec) -> Iterator[tuple[str, int]]:
    """Keys that say how many training images are looked at, and how many."""
    for index, rung in enumerate(spec.rungs):
        if spec.calibrates(index):
            yield f"rungs[{index}].images", rung.images
    if spec.reconstruction is not None:
        yield "reconstruction.images", spec.reconstruction.images
    if spec.fixed_point is not None:
        yield "fixed_point.images", spec.fixed_point.images


def _fixed_point(spec: Spec, run: RunDirectory) -> dict[str, Any] | None:
    """What the winner's copy in fixed point came to, where there is one and of this winner."""
    if spec.fixed_point is None or not run.plan.is_file() or not is_made(run, spec.fixed_point):
        return None
    return run.read(FixedPointPaths.of(run).result)


def _task(spec: Spec) -> dict[str, Any]:
    """What the user has put in the place of cross-entropy and of right and wrong."""
    own = {key: name for key in ("loss", "metric") if (name := getattr(spec.task, key)) is not None}
    return {"task": own} if own else {}


def _roles(record: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Results by the role they play in the summary; the one that the held-out slice chose is `searched`."""
    if record is None:
        return {}
    results = dict(record["results"])
    found = {role: results[role] for role in ROLES if role in results}
    found["searched"] = results[record["chosen"]]
    return found


def _search_facts(run: RunDirectory, price: float | None) -> dict[str, Any]:
    if not run.journal.exists():
        return {"evaluations": 0, "asked": 0, "failed": 0, "worker_hours": worker_time_of(run, None, price)}
    study = read_study(run.journal)
    progress, candidates = study.progress(), study.candidates()
    return {
        "evaluations": study.evaluations,
        "asked": progress["asked"],
        "failed": progress["failed"],
        "halted": progress["halted"],
        "recomputed": study.recomputed,
        "stopped": study.stopped,
        "proxy_noise": noise_of(candidates),
        "proxy_accuracy": {role: _proxy(row) for role in COMPARED if (row := study.best(role)) is not None},
        "target": study.target(),
        "sensitivity": study.probing.source if study.probing is not None else "none",
        "worker_hours": worker_time_of(run, study, price),
        "correlation": {
            "rungs": rung_correlations(candidates, study.settings["rungs"]),
            "final": run.read(run.correlation),
        },
    }


def _proxy(row: Mapping[str, Any]) -> dict[str, Any]:
    """The mean accuracy on the scoring slice of a candidate's measurements."""
    return {"value": float(np.mean(row["repeats"])), "images": row["images"], "measurements": len(row["repeats"])}


def noise_of(candidates: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Standard deviation of a plan's proxy accuracy over training seeds, pooled over the plans measured again."""
    repeats = [row["repeats"] for row in candidates if len(row.get("repeats") or []) > 1]
    if not repeats:
        return None
    freedom = sum(len(values) - 1 for values in repeats)
    squares = sum(float(np.sum((np.asarray(values) - np.mean(values)) ** 2)) for values in repeats)
    return {
        "standard_deviation": (squares / freedom) ** 0.5,
        "plans": len(repeats),
        "measurements": freedom + len(repeats),
    }


def _accuracies(result: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("test_accuracy", "test_images", "test_standard_error", "select_accuracy", "select_images")
    # A run that was begun by an earlier version does not have it, nor one with few classes.
    more = {key: result[key] for key in ("test_top5_accuracy",) if key in result}
    return {**{key: result[key] for key in keys}, **more}


def _costs(measured: Mapping[str, float], baseline: Mapping[str, float]) -> dict[str, Any]:
    return {
        "macs": measured["macs"],
        "flops": measured["macs"] / baseline["macs"],
        "params": measured["params"],
        "params_ratio": measured["params"] / baseline["params"],
        "mean_weight_bits": measured["weight_bits"],
        "mean_act_bits": measured["act_bits"],
        "bitops": measured["bitops"] / baseline["bitops"],
        # What was measured before there was any sparsity has none.
        "nonzero_params": measured.get("nonzero_params", measured["params"]) / baseline["params"],
        "sparse_flops": measured.get("sparse_macs", measured["macs"]) / baseline["macs"],
        "size_bytes": measured["size_bytes"],
    }


def _by_table(prepared: Prepared, plan: Plan) -> dict[str, float]:
    """What only a table of measurements knows of a plan."""
    return {name: cost for name, cost in prepared.space.costs_of(plan).items() if name in BY_TABLE}
