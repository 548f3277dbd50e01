"""`pqsearch run` and its stages one by one, and what looks at a network without searching: `check`, `latency`,
`evaluate`, `merge-bn`, `meter`, `plot`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from pqsearch.arguments import Add, with_overrides, with_spec

_STAGES = {
    "run": "the whole chain: baseline, search, fine-tune, export, report",
    "ptq": "the whole chain without training: plans are scored after calibration, the winner is reconstructed",
    "baseline": "train the float network, or adapt the weights that the spec names",
    "search": "search plans (trains the baseline first if there is none)",
    "finetune": "fully fine-tune the leading plans, or the one named by --plan",
    "export": "write the winner in the formats of [export]",
    "fixed-point": "make the winner's copy in dynamic fixed point, and write its integers",
    "report": "write summary.json and report.html from what the run has",
}


def add(add_command: Add) -> None:
    """Make the subcommands."""
    for name, meaning in _STAGES.items():
        command = with_spec(add_command(name, meaning, f"pqsearch {name} examples/digits.toml", _stage(name)))
        command.add_argument("-v", "--verbose", action="store_true", help="show Ray's own messages")
        if name == "finetune":
            command.add_argument("--plan", metavar="PLAN.json", help="a plan from anywhere, instead of the search's")
    check = with_spec(
        add_command("check", "validate a spec whole, without training", "pqsearch check examples/digits.toml", _check)
    )
    check.add_argument("--time", action="store_true", help="measure one evaluation and say what the run will take")
    clock = with_spec(
        add_command(
            "latency", "measure what each layer takes on this machine, for the budget latency_ms",
            "pqsearch latency examples/digits.toml --out latency.json", _latency,
        )
    )  # fmt: skip
    clock.add_argument("--out", metavar="FILE", required=True, help="the table, for [latency] table")
    clock.add_argument("--batch-size", type=int, default=1, help="images computed together (1)")
    clock.add_argument("--repeats", type=int, default=30, help="times each measurement is made; the median counts (30)")
    clock.add_argument("--threads", type=int, help="threads of torch (workers.cpus)")
    evaluate = add_command(
        "evaluate", "measure a run's exported network, or a spec's bare checkpoint, on the test images",
        "pqsearch evaluate runs/digits", _evaluate,
    )  # fmt: skip
    evaluate.add_argument("target", metavar="RUN_DIR|SPEC", help="a run directory, or a spec with model.weights")
    with_overrides(evaluate)
    fold = add_command(
        "merge-bn", "fold batch norm into the layers beside it, and write the weights",
        "pqsearch merge-bn SPEC --set model.weights=net.pth --out merged.pth", _merge,
    )  # fmt: skip
    fold.add_argument(
        "target", metavar="RUN_DIR|SPEC", help="a spec with model.weights, or a run whose winner is not quantised"
    )
    fold.add_argument("--out", metavar="FILE", required=True, help="the state dict of the merged network")
    with_overrides(fold)
    meter = add_command(
        "meter",
        "say what every layer costs, before and after a plan",
        "pqsearch meter runs/digits --csv layers.csv",
        _meter,
    )
    meter.add_argument("target", metavar="RUN_DIR|SPEC", help="a run directory, with its plan if it has one, or a spec")
    meter.add_argument("--plan", metavar="PLAN.json", help="a plan from anywhere")
    meter.add_argument("--csv", metavar="FILE", help="the same for a spreadsheet")
    meter.add_argument("--json", metavar="FILE", help="the same for a program")
    meter.add_argument("--picture", metavar="FILE.png", help="the same for looking at; PNG or SVG")
    with_overrides(meter)
    plot = add_command(
        "plot",
        "draw what a run has found: grids over histograms, errors, ranges, steps, plans",
        "pqsearch plot runs/digits --out pictures",
        _plot,
    )
    plot.add_argument("target", metavar="RUN_DIR", help="a run directory whose winner is exported")
    plot.add_argument("--out", metavar="FOLDER", help="where pictures go (RUN_DIR/plots)")
    plot.add_argument("--only", metavar="NAME", nargs="+", default=[], help="these pictures instead of all")
    plot.add_argument("--layers", metavar="PATTERN", default="*", help="layers by name, as 'layer3.*'")
    plot.add_argument("--plan", metavar="PLAN.json", action="append", default=[], help="one more plan beside the run's")
    plot.add_argument("--format", default="png", help="png or svg (png)")
    plot.add_argument(
        "--images",
        type=int,
        default=256,
        help="training images that show the activations (256); fewer where images are large",
    )
    with_overrides(plot)


def _stage(name: str) -> Any:
    def command(options: argparse.Namespace) -> int:
        from pqsearch.spec import load_spec

        spec = load_spec(options.spec, options.set)  # before torch loads: a typo answers at once
        if name == "ptq":
            from pqsearch.post_training import post_training

            spec = post_training(spec)
        from pqsearch.pipeline import opened

        with opened(spec, verbose=options.verbose) as pipeline:
            if name in ("run", "ptq"):
                pipeline.all()
            elif name == "finetune":
                pipeline.finetune(options.plan)
            else:
                getattr(pipeline, name.replace("-", "_"))()
            run = pipeline.run
            if name in ("finetune", "export", "fixed-point") and run.summary.is_file():
                pipeline.report()  # the old one would tell of another plan, or of other grids
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


def _merge(options: argparse.Namespace) -> int:
    from pqsearch.merging import merge

    found = merge(options.target, options.out, options.set)
    print(f"{options.out}: {len(found['into'])} of {len(found['into']) + len(found['left'])} merged")
    for name, reason in found["left"].items():
        print(f"left     {name}: {reason}")
    print(f"load     trainers.merging.merge_batch_norm(model, {found['input_shape']}).model has these weights")
    print(f"outputs differ by at most {found['difference']:.1e} of the largest (random images)")
    return 0


def _meter(options: argparse.Namespace) -> int:
    from pqsearch.meter import meter, write

    found = meter(options.target, options.set, options.plan)
    print(found.table())
    write(found, csv_file=options.csv, json_file=options.json, picture_file=options.picture)
    return 0


def _plot(options: argparse.Namespace) -> int:
    from pqsearch.plotting import plot

    written = plot(
        options.target, options.out, only=options.only, layers=options.layers, plans=options.plan, format=options.format,
        images=options.images, overrides=options.set, say=lambda text: print(text, file=sys.stderr),
    )  # fmt: skip
    for path in written:
        print(path)
    return 0
