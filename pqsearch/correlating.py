"""Whether the proxy's ranking is that of the full fine-tune: plans spread over a run's scores get the whole training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import fmean
from typing import Any

from pqsearch.errors import UserError
from pqsearch.report.correlation import FEWEST, final_correlations
from pqsearch.run_dir import RunDirectory
from pqsearch.spec import Spec
from pqsearch.study import read_study
from pqsearch.study_state import StudyState

#: How far from its place in the ranking a plan may be that has its full fine-tune already, in distances between places. A
#: third keeps neighbours apart, and it lets each place choose for itself.
REACH = 1 / 3
#: What a full fine-tune measured on each set of images.
MEASURED = ("accuracy", "images", "standard_error")


def correlate(run_dir: str | Path, plans: int = FEWEST) -> dict[str, Any]:
    """Fully fine-tune `plans` plans of a finished search, spread over its scores, and compare the two rankings.

    Returns what `correlation.json` holds: `select` and `test` (Kendall's tau of the proxy's score with the accuracy on the
    selection slice and on the test images, with a 95 % interval, or why there is none), the `plans` behind them, and those
    that `failed`. Full fine-tunes that the run has are not paid again, and test images choose nothing. The winner stays as it is.
    Raises `UserError` without a finished search, for fewer evaluated plans than asked for, and for fewer than two.
    """
    run = RunDirectory.existing(run_dir)
    if isinstance(plans, bool) or not isinstance(plans, int) or plans < 2:
        raise UserError(f"--plans {plans}: must be a whole number, at least 2; {FEWEST} give a correlation")
    state = read_study(run.journal) if run.journal.exists() else None
    if state is None or not state.finished:
        raise UserError(f"{run.path}: the search is not finished; `pqsearch search {run.spec}` continues it")
    ranked = state.spread(len(state.by_id))
    if plans > len(ranked):
        raise UserError(
            f"--plans {plans}: the run has {len(ranked)} evaluated plans; ask for at most so many, or go on searching with a "
            "larger study.evaluations"
        )
    known = {result["plan_hash"] for result in run.finetuned()}
    ids = pick(ranked, state.spread(plans), [id for id in ranked if state.by_id[id].plan_hash in known])
    return _finetune(run, state, ids, known)


def pick(ranked: Sequence[int], places: Sequence[int], known: Collection[int]) -> list[int]:
    """Ids out of `ranked` for the ids at `places`, best and worst among them: themselves, or the nearest one of `known`.

    The outcome of a fine-tune plays no part in it, only whether there is one. Asked again after all of them are known it
    gives the same ones.
    """
    rank = {id: place for place, id in enumerate(ranked)}
    reach = REACH * (len(ranked) - 1) / (len(places) - 1)
    found = []
    for id in places:
        away = {other: abs(rank[other] - rank[id]) for other in sorted(known, key=rank.__getitem__)}
        near = [other for other in away if away[other] <= reach]
        is_end = rank[id] in (0, len(ranked) - 1)
        found.append(id if is_end or not near else min(near, key=away.__getitem__))
    return found


def _finetune(run: RunDirectory, state: StudyState, ids: Sequence[int], known: Collection[str]) -> dict[str, Any]:
    # They bring torch and ray: what is wrong with the question was said before.
    from pqsearch.finetunes import Job, finetune_all
    from pqsearch.pipeline import opened

    with opened(_spec_of(run)) as pipeline:
        pipeline.baseline()
        record = _Record(run, state, ids)
        jobs = {f"candidate {id}": id for id in record.open()}

        def finished(job: Job, result: dict[str, Any]) -> None:
            words = record.finished(jobs[job.role], result)
            before = job.hash in known
            if not before:
                record.write()
            pipeline.console.line(f"correlate {job.role}: {words}{', fine-tuned before' if before else ''}")

        def failed(job: Job, error: UserError) -> None:
            record.failed(jobs[job.role], str(error))
            record.write()
            pipeline.console.line(f"correlate {job.role}: failed, {error}")

        todo = [Job(role, state.table.plan(state.by_id[id].genes)) for role, id in jobs.items()]
        # What only reads is no stage, and the seconds of the last time stay.
        with nullcontext() if all(job.hash in known for job in todo) else pipeline.stage("correlate"):
            finetune_all(
                pipeline.spec, run, todo, pipeline.progress("correlate"), pipeline.verbose, finished=finished, failed=failed
            )  # fmt: skip
        record.write()
        pipeline.report()
    return run.read(run.correlation)


class _Record:
    """correlation.json as it grows."""

    def __init__(self, run: RunDirectory, state: StudyState, ids: Sequence[int]) -> None:
        self._run, self._state, self._ids = run, state, ids
        self._rows: dict[int, dict[str, Any]] = {}
        earlier = {row["plan_hash"]: row for row in (run.read(run.correlation) or {}).get("failed", ())}
        # A training that diverged would do so again.
        self._failed = {id: found for id in ids if (found := earlier.get(state.by_id[id].plan_hash)) is not None}

    def open(self) -> list[int]:
        """The candidates that did not fail before."""
        return [id for id in self._ids if id not in self._failed]

    def finished(self, id: int, result: Mapping[str, Any]) -> str:
        """Take a full fine-tune in; returns it in words."""
        measured = self._state.last_rung(id)
        row = {
            **self._name(id),
            "score": self._state.score(id),
            "proxy_accuracy": fmean(entry["accuracy"] for entry in measured),
            "proxy_images": measured[0]["images"],
            "measurements": len(measured),
            **{f"{part}_{key}": result[f"{part}_{key}"] for part in ("select", "test") for key in MEASURED},
            "seconds": result["seconds"],
        }
        self._rows[id] = row
        return (
            f"proxy accuracy {row['proxy_accuracy']:.3f}, then select accuracy {row['select_accuracy']:.3f} "
            f"± {row['select_standard_error']:.3f}"
        )

    def failed(self, id: int, reason: str) -> None:
        self._failed[id] = {**self._name(id), "reason": reason}

    def write(self) -> None:
        rows = [self._rows[id] for id in self._ids if id in self._rows]
        failed = [self._failed[id] for id in self._ids if id in self._failed]
        score = self._state.settings["objectives"][0]
        self._run.write(
            self._run.correlation,
            {
                "format": 1, "asked": len(self._ids), "score": score, **final_correlations(rows), "plans": rows,
                "failed": failed,
            },
        )  # fmt: skip

    def _name(self, id: int) -> dict[str, Any]:
        found = self._state.by_id[id]
        return {"id": id, "plan_hash": found.plan_hash, "role": found.role}


def _spec_of(run: RunDirectory) -> Spec:
    """The run's spec; its directory may have been moved since, or be named from another folder."""
    spec = run.read_spec()
    if RunDirectory.of(spec).path == run.path:
        return spec
    return spec.model_copy(update={"study": spec.study.model_copy(update={"run_dir": run.where})})
