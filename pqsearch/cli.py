"""The command line. Exit codes: 0 done, 2 the user's mistake, 1 ours, 130 interrupted."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pqsearch import __version__, cluster_command, dashboard_command, environment, job_commands, runs_command
from pqsearch.errors import SearchAborted, UserError

_SPEC_COMMANDS = {
    "run": "the whole chain: baseline, search, fine-tune, export, report",
    "baseline": "train the float network, or adapt the weights that the spec names",
    "search": "search plans (trains the baseline first if there is none)",
    "finetune": "fully fine-tune the leading plans, or the one named by --plan",
    "export": "write the winner in the formats of [export]",
    "report": "write summary.json and report.html from what the run has",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    environment.set_defaults()
    options = parser().parse_args(arguments)
    _interrupt_on_sigterm()
    try:
        # Commands are imported when chosen: `pqsearch list` needs no torch.
        return options.command(options)
    except UserError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except SearchAborted as error:
        print(f"pqsearch: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing finished is lost; the same command continues", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


def parser() -> argparse.ArgumentParser:
    """The whole command line; its help is part of the documentation."""
    top = argparse.ArgumentParser(
        prog="pqsearch",
        description="Finds, per layer of a trained CNN, how much to prune and how many bits to keep, under your budgets.",
        epilog="example: pqsearch run examples/digits.toml",
    )
    top.add_argument("--version", action="version", version=f"pqsearch {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, meaning: str, example: str, function: Any) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=meaning, description=meaning[0].upper() + meaning[1:] + ".", epilog=f"example: {example}"
        )
        command.set_defaults(command=function)
        return command

    for name, meaning in _SPEC_COMMANDS.items():
        command = _with_spec(add(name, meaning, f"pqsearch {name} examples/digits.toml", _stage(name)))
        command.add_argument("-v", "--verbose", action="store_true", help="show Ray's own messages")
        if name == "finetune":
            command.add_argument("--plan", metavar="PLAN.json", help="a plan from anywhere, instead of the search's")
    check = _with_spec(
        add("check", "validate a spec whole, without training", "pqsearch check examples/digits.toml", _check)
    )
    check.add_argument("--time", action="store_true", help="measure one evaluation and say what the run will take")
    clock = _with_spec(
        add(
            "latency", "measure what each layer takes on this machine, for the budget latency_ms",
            "pqsearch latency examples/digits.toml --out latency.json", _latency,
        )
    )  # fmt: skip
    clock.add_argument("--out", metavar="FILE", required=True, help="the table, for [latency] table")
    clock.add_argument("--batch-size", type=int, default=1, help="images computed together (1)")
    clock.add_argument("--repeats", type=int, default=30, help="times each measurement is made; the median counts (30)")
    clock.add_argument("--threads", type=int, help="threads of torch (workers.cpus)")
    evaluate = add(
        "evaluate", "measure a run's exported network, or a spec's bare checkpoint, on the test images",
        "pqsearch evaluate runs/digits", _evaluate,
    )  # fmt: skip
    evaluate.add_argument("target", metavar="RUN_DIR|SPEC", help="a run directory, or a spec with model.weights")
    _with_overrides(evaluate)
    show = add("show", "print what a run has found so far", "pqsearch show runs/digits", _show)
    show.add_argument("run_dir", metavar="RUN_DIR")
    trials = add("trials", "list every candidate of a run", "pqsearch trials runs/digits --json", _trials)
    trials.add_argument("run_dir", metavar="RUN_DIR")
    trials.add_argument("--json", action="store_true", help="a JSON line per candidate")
    board = add(
        "tensorboard", "write the plans of a run for TensorBoard's HParams view",
        "pqsearch tensorboard runs/digits --follow", _tensorboard,
    )  # fmt: skip
    board.add_argument("run_dir", metavar="RUN_DIR")
    board.add_argument("--follow", action="store_true", help="go on until the search is over")
    board.add_argument(
        "--plans", metavar="NUMBER", default="1000", help="at most so many, the leading ones of more (1000)"
    )
    select = add(
        "select", "pick the best evaluated plan of a run under other budgets",
        "pqsearch select runs/digits --budget flops=0.15 --out small.json", _select,
    )  # fmt: skip
    select.add_argument("run_dir", metavar="RUN_DIR")
    select.add_argument(
        "--budget", metavar="COST=LIMIT", action="append", default=[], help="an upper limit; may be repeated"
    )
    select.add_argument("--out", metavar="PLAN.json", help="also write the plan, for `pqsearch finetune --plan`")
    solve = add(
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
    imitate = _with_spec(
        add(
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
    correlation = add(
        "correlate", "fully fine-tune plans spread over a run's scores: does the proxy rank as the full fine-tune does",
        "pqsearch correlate runs/digits --plans 8", _correlate,
    )  # fmt: skip
    correlation.add_argument("run_dir", metavar="RUN_DIR")
    correlation.add_argument(
        "--plans", metavar="NUMBER", default="8", help="how many (8, the fewest that give a correlation)"
    )
    mend = add(
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
    cluster = add(
        "cluster",
        "print the file that takes a search to a cluster, or a board of its metrics",
        "pqsearch cluster kuberay examples/digits.toml",
        None,
    )
    cluster_command.add(cluster, _with_spec)
    rooms = add("list", "list what can be named in a spec", "pqsearch list algorithms", _list)
    rooms.add_argument(
        "room", nargs="?", help="algorithms, models, datasets, budgets, quantizers, importances, exporters, clusters"
    )
    init = add("init", "write a commented spec to start from", "pqsearch init my.toml", _init)
    init.add_argument("path", nargs="?", default="spec.toml", help="the file to write (spec.toml)")
    dashboard_command.add(add)
    runs_command.add(add, _with_spec)
    job_commands.add_commands(add, _with_spec)
    return top


def _with_spec(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("spec", metavar="SPEC", help="the spec, a TOML file")
    return _with_overrides(command)


def _with_overrides(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        help="override a key of the spec; may be repeated",
    )
    return command


def _stage(name: str) -> Any:
    def command(options: argparse.Namespace) -> int:
        from pqsearch.spec import load_spec

        spec = load_spec(options.spec, options.set)  # before torch loads: a typo answers at once
        from pqsearch.pipeline import opened

        with opened(spec, verbose=options.verbose) as pipeline:
            if name == "run":
                pipeline.all()
            elif name == "finetune":
                pipeline.finetune(options.plan)
            else:
                getattr(pipeline, name)()
            run = pipeline.run
        _say_where(run)
        return 0

    return command


def _say_where(run: Any) -> None:
    from pqsearch.tables import summary_table

    summary = run.read(run.summary)
    if summary is not None:
        print(summary_table(summary))
    for meaning, path in (("plan", run.plan), ("weights", run.model), ("summary", run.summary), ("report", run.report)):
        if path.is_file():
            print(f"{meaning:8} {path}")
    if run.store is not None:
        print(f"store    {run.where}")


def _check(options: argparse.Namespace) -> int:
    from pqsearch.spec import load_spec

    spec = load_spec(options.spec, options.set)
    from pqsearch.check import check

    check(spec, measure_time=options.time, say=print)
    return 0


def _latency(options: argparse.Namespace) -> int:
    from pqsearch.spec import load_spec

    spec = load_spec(options.spec, options.set)
    from pqsearch.latency import measure_latency

    table = measure_latency(
        spec, options.out, batch_size=options.batch_size, repeats=options.repeats, threads=options.threads
    )
    print(f"{options.out}: {len(table['layers'])} layers on {table['device']}, threads {table['threads']}")
    print(
        f"name it in the spec as [latency] table = {json.dumps(options.out)}, then latency_ms is a cost like the others"
    )
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from pqsearch.check import evaluate

    print(json.dumps(evaluate(options.target, options.set), indent=2))
    return 0


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

    try:
        write_atomically(path, json.dumps({**row["plan"], "costs": row["costs"]}, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"--out {path}: cannot be written ({error.strerror}); name another file") from None


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
        write_atomically(Path(options.json), text + "\n")
    return 0


def _list(options: argparse.Namespace) -> int:
    from pqsearch.rooms import ROOMS
    from pqsearch.tables import rooms_table

    if options.room is not None and options.room not in ROOMS:
        raise UserError(f"list: unknown room {options.room!r}, choose from {', '.join(ROOMS)}")
    print(rooms_table(options.room))
    return 0


def _init(options: argparse.Namespace) -> int:
    from pqsearch.spec_docs import commented_spec

    path = Path(options.path)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(commented_spec())
    except FileExistsError:
        raise UserError(f"{path}: exists already; name another file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); name another file") from None
    print(f"{path}: edit it, then `pqsearch check {path}` and `pqsearch run {path}`")
    return 0


def _interrupt_on_sigterm() -> None:
    """Stopping a job sends SIGTERM; it ends as Ctrl-C does, with the journal closed."""

    def interrupt(number: int, frame: Any) -> NoReturn:
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGTERM, interrupt)
    except ValueError:
        return  # not the main thread: whoever embeds us owns the signals
