"""`pqsearch runs`, `compare` and `apply`: the runs under one folder, plans beside each other, a plan on other weights."""

from __future__ import annotations

import argparse
import json

from pqsearch.arguments import Add, with_spec


def add(add_command: Add) -> None:
    """Make the subcommands."""
    listing = add_command(
        "runs", "list the runs under a folder, what they found and how far they are", "pqsearch runs runs", _runs
    )
    listing.add_argument("root", metavar="FOLDER", nargs="?", default="runs", help="where runs are (runs)")
    listing.add_argument("--json", action="store_true", help="a JSON line per run")
    beside = add_command(
        "compare",
        "put plans beside each other, layer by layer",
        "pqsearch compare runs/digits other/plan.json",
        _compare,
    )
    beside.add_argument("plans", metavar="RUN_DIR|PLAN.json", nargs="+", help="two plans or more, of one network")
    beside.add_argument("--all", action="store_true", help="show also what is the same in all")
    beside.add_argument("--out", metavar="FILE.html", help="a picture as well")
    put = add_command(
        "apply", "put a plan on other weights of the same network, calibrated and not trained",
        "pqsearch apply runs/digits/plan.json other.toml --set model.weights=other.pth --out applied", _apply,
    )  # fmt: skip
    put.add_argument("plan", metavar="PLAN.json", help="a plan from anywhere")
    with_spec(put)
    put.add_argument("--out", metavar="FOLDER", required=True, help="a new folder for plan and weights")


def _runs(options: argparse.Namespace) -> int:
    from pqsearch.run_list import list_runs, runs_table

    found = list_runs(options.root)
    if options.json:
        for run in found:
            print(json.dumps(run))
    else:
        print(runs_table(found) if found else f"no runs under {options.root}; `pqsearch run SPEC` makes one")
    return 0


def _compare(options: argparse.Namespace) -> int:
    from pqsearch.plan_comparison import compare, read_plans, write_picture

    plans = read_plans(options.plans)
    print(compare(plans, everything=options.all))
    if options.out:
        write_picture(plans, options.out)
        print(options.out)
    return 0


def _apply(options: argparse.Namespace) -> int:
    from pqsearch.spec import load_spec

    spec = load_spec(options.spec, options.set)
    from pqsearch.applying import apply_plan

    print(json.dumps(apply_plan(options.plan, spec, options.out), indent=2))
    return 0
