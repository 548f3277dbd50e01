"""What is asked of a run that is there: `show`, `trials`, `tensorboard`, `select`, `resolve`, `correlate`, `repair`; and `simulate`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pqsearch.arguments import Add, with_spec
from pqsearch.errors import UserError, writing


def add(add_command: Add) -> None:
    """Make the subcommands."""
    show = add_command("show", "print what a run has found so far", "pqsearch show runs/digits", _show)
    show.add_argument("run_dir", metavar="RUN_DIR")
    trials = add_command("trials", "list every candidate of a run", "pqsearch trials runs/digits --json", _trials)
    trials.add_argument("run_dir", metavar="RUN_DIR")
    trials.add_argument("--json", action="store_true", help="a JSON line per candidate")
    board = add_command(
        "tensorboard", "write the plans of a run for TensorBoard's HParams view",
        "pqsearch tensorboard runs/digits --follow", _tensorboard,
    )  # fmt: skip
    board.add_argument("run_dir", metavar="RUN_DIR")
    board.add_argument("--follow", action="store_true", help="go on until the search is over")
    board.add_argument(
        "--plans", metavar="NUMBER", default="1000", help="at most so many, the leading ones of more (1000)"
    )
    select = add_command(
        "select", "pick the best evaluated plan of a run under other budgets",
        "pqsearch select runs/digits --budget flops=0.15 --out small.json", _select,
    )  # fmt: skip
    select.add_argument("run_dir", metavar="RUN_DIR")
    select.add_argument(
        "--budget", metavar="COST=LIMIT", action="append", default=[], help="an upper limit; may be repeated"
    )
    select.add_argument("--out", metavar="PLAN.json", help="also write the plan, for `pqsearch finetune --plan`")
    solve = add_command(
        "resolve", "solve for other budgets by what a run has evaluated, and measure the plan",
        "pqsearch resolve runs/digits --budget flops=0.15", _resolve,
    )  # fmt: skip
    solve.add_argument("run_dir", metavar="RUN_DIR")
    solve.add_argument(
        "--budget", metavar="COST=LIMIT", action="append", default=[], required=True,
        help="an upper limit instead of the run's own; may be repeated",
    )  # fmt: skip
    solve.add_argument("--predict-only", action="store_true", help="say what is expected, measure nothing")
    solve.add_argument("--out", metavar="PLAN.json", help="also write the plan, for `pqsearch finetune --plan`")
    imitate = with_spec(
        add_command(
            "simulate", "say how long a search would take on so many workers, and how good it would be",
            "pqsearch simulate examples/digits.toml --workers 1000 --evaluations 100000 --seconds 20", _simulate,
        )
    )  # fmt: skip
    imitate.add_argument("--workers", type=int, required=True)
    imitate.add_argument("--evaluations", type=int, required=True)
    imitate.add_argument(
        "--like", metavar="RUN_DIR", help="seconds, failures and scores as this run of the spec had them"
    )
    imitate.add_argument("--seconds", type=float, help="what one rung takes, instead")
    imitate.add_argument("--failures", type=float, help="chance that a rung fails")
    imitate.add_argument("--start", type=float, default=0.0, help="seconds until a worker has loaded its data")
    imitate.add_argument(
        "--algorithm", action="append", default=[], metavar="NAME", help="instead of the spec's; may be repeated"
    )
    imitate.add_argument("--json", metavar="FILE", help="also write everything as JSON")
    correlation = add_command(
        "correlate", "fully fine-tune plans spread over a run's scores: does the proxy rank as the full fine-tune does",
        "pqsearch correlate runs/digits --plans 8", _correlate,
    )  # fmt: skip
    correlation.add_argument("run_dir", metavar="RUN_DIR")
    correlation.add_argument(
        "--plans", metavar="NUMBER", default="8", help="how many (8, the fewest that give a correlation)"
    )
    mend = add_command(
        "repair", "save what is whole of a run's damaged journal into a new file",
        "pqsearch repair runs/digits --in-place", _repair,
    )  # fmt: skip
    mend.add_argument("run_dir", metavar="RUN_DIR")
    mend.add_argument("--out", metavar="FILE", help="the new file (journal-repaired.jsonl in the run directory)")
    mend.add_argument(
        "--in-place",
        action="store_true",
        help="replace the journal instead; the damaged one is kept under another name",
    )


def _show(options: argparse.Namespace) -> int:
    from pqsearch.console import search_line
    from pqsearch.run_dir import RunDirectory
    from pqsearch.study import read_study
    from pqsearch.tables import summary_table
    from pqsearch.worker_time import worker_time_of
    from pqsearch.worker_words import worker_sentences

    run = RunDirectory.existing(options.run_dir)
    summary = run.read(run.summary)
    if summary is None and not run.journal.exists():
        print(
            f"{run.path}: {'the baseline is trained' if run.baseline.is_file() else 'nothing is done yet'}, no search has begun"
        )
        return 0
    study = read_study(run.journal) if run.journal.exists() else None
    spent = worker_time_of(run, study, run.read_spec().workers.price)
    if summary is not None:
        print(summary_table({**summary, "worker_hours": spent}))
    elif study is not None:
        print(search_line(study.progress()))
        print("\n".join(worker_sentences(spent)))
    return 0


def _trials(options: argparse.Namespace) -> int:
    from pqsearch.run_dir import RunDirectory
    from pqsearch.study import read_study
    from pqsearch.tables import candidates_line, candidates_table

    run = RunDirectory.existing(options.run_dir)
    candidates = read_study(run.journal).candidates() if run.journal.exists() else []
    if options.json:
        for candidate in candidates:
            print(candidates_line(candidate))
    else:
        print(candidates_table(candidates))
    return 0


def _tensorboard(options: argparse.Namespace) -> int:
    from pqsearch.tensorboard_command import write_event_files

    write_event_files(options.run_dir, most=_plans(options, 1), follow=options.follow, say=print)
    return 0


def _plans(options: argparse.Namespace, least: int) -> int:
    """`--plans` as a number; one that is too small is refused where the plans are counted."""
    if not options.plans.isdecimal():
        raise UserError(f"--plans {options.plans}: must be a whole number, at least {least}")
    return int(options.plans)


def _select(options: argparse.Namespace) -> int:
    from pqsearch.choose import select
    from pqsearch.tables import candidates_table

    row = select(options.run_dir, _limits(options.budget))
    print(candidates_table([row]))
    if options.out:
        _write_plan(Path(options.out), row)
        print(f"{options.out}: `pqsearch finetune SPEC --plan {options.out}` fine-tunes it")
    return 0


def _resolve(options: argparse.Namespace) -> int:
    from pqsearch.resolving import resolve
    from pqsearch.tables import resolved_table

    found = resolve(options.run_dir, _limits(options.budget), evaluate=not options.predict_only)
    print(resolved_table(found))
    if options.out:
        _write_plan(Path(options.out), found)
        print(f"{options.out}: `pqsearch finetune SPEC --plan {options.out}` fine-tunes it")
    return 0


def _correlate(options: argparse.Namespace) -> int:
    from pqsearch.correlating import correlate
    from pqsearch.tables import correlation_table

    print(correlation_table(correlate(options.run_dir, _plans(options, 2))))
    return 0


def _repair(options: argparse.Namespace) -> int:
    from pqsearch.repairing import repair
    from pqsearch.tables import repair_lines

    if options.out and options.in_place:
        raise UserError("--out: names a new file, --in-place makes none; give one of them")
    print("\n".join(repair_lines(repair(options.run_dir, options.out, in_place=options.in_place))))
    return 0


def _write_plan(path: Path, row: Mapping[str, Any]) -> None:
    from pqsearch.run_dir import write_atomically

    with writing(f"--out {path}"):
        write_atomically(path, json.dumps({**row["plan"], "costs": row["costs"]}, indent=2) + "\n")


def _limits(texts: Sequence[str]) -> dict[str, float]:
    """`cost=limit` texts as numbers; what is wrong with any of them is said at once."""
    problems, found = [], {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            problems.append(f"--budget {text}: must be COST=LIMIT with a number, as in flops=0.4")
            continue
        if not 0 < found[name] < float("inf"):
            problems.append(f"--budget {text}: the limit must be above 0 and finite")
    if problems:
        raise UserError(problems)
    return found


def _simulate(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from pqsearch.run_dir import write_atomically
    from pqsearch.simulating import simulate_spec, simulated_table
    from pqsearch.spec import load_spec

    spec = load_spec(options.spec, options.set)
    found = simulate_spec(
        spec,
        options.workers,
        options.evaluations,
        like=options.like,
        seconds=options.seconds,
        failures=options.failures,
        start=options.start,
        algorithms=options.algorithm,
    )
    print(simulated_table(found, spec.workers.price))
    if options.json:
        text = json.dumps({name: asdict(one) for name, one in found.items()}, indent=2)
        with writing(f"--json {options.json}"):
            write_atomically(Path(options.json), text + "\n")
    return 0
