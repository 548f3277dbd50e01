"""The house stands on its floors: who may import whom, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pqsearch", "search_spaces", "trainers", "cluster")
#: Lowest first. A module may import from its own floor and from those below.
FLOORS = (
    (
        "pqsearch.errors",
        "pqsearch.arguments",
        "pqsearch.hidden",
        "pqsearch.store_url",
        "pqsearch.plan",
        "pqsearch.sparsity",
        "pqsearch.problem",
        "pqsearch.plan_table",
        "pqsearch.settings",
        "pqsearch.seats",
        "pqsearch.metric_names",
        "pqsearch.drop",
        "pqsearch.target_words",
        "pqsearch.worker_words",
        "pqsearch.rooms",
        "pqsearch.own",
        "pqsearch.box",
        "pqsearch.choices",
        "pqsearch.samplers",
        "pqsearch.searchers",
        "pqsearch.spec_section",
        "pqsearch.spec_network",
        "pqsearch.spec_search",
        "pqsearch.spec",
        "pqsearch.spec_problems",
        "pqsearch.type_problems",
        "pqsearch.room_problems",
        "pqsearch.study_problems",
        "pqsearch.space_problems",
        "pqsearch.process_problems",
        "pqsearch.environment",
    ),
    (
        "pqsearch.algorithms",
        "pqsearch.algorithm_of",
        "pqsearch.forecast",
        "pqsearch.plan_file",
        "pqsearch.latency_file",
        "pqsearch.following",
        "pqsearch.optuna_history",
        "pqsearch.optuna_sampler",
        "search_spaces",
        "pqsearch.journal",
        "pqsearch.report",
        "cluster",
        "pqsearch.run_dir",
        "pqsearch.same_spec",
        "pqsearch.objects",
        "pqsearch.store",
        "pqsearch.store_owner",
        "pqsearch.store_session",
        "pqsearch.pace",
        "pqsearch.console",
        "pqsearch.tables",
        "pqsearch.spec_docs",
        "pqsearch.cluster_command",
    ),
    (
        "pqsearch.study",
        "pqsearch.telling",
        "pqsearch.target",
        "pqsearch.probing",
        "pqsearch.front",
        "pqsearch.choose",
        "pqsearch.repairing",
        "pqsearch.study_events",
        "pqsearch.study_fold",
        "pqsearch.study_state",
        "pqsearch.simulator",
        "pqsearch.simulated_landscapes",
        "pqsearch.halving",
        "pqsearch.asking",
        "pqsearch.confirming",
        "pqsearch.claims",
        "pqsearch.leases",
        "pqsearch.heartbeats",
        "pqsearch.settling",
        "pqsearch.study_metrics",
        "pqsearch.event_files",
        "pqsearch.tensorboard_command",
        "pqsearch.worker_time",
        "pqsearch.local",
        "pqsearch.space_of",
        "pqsearch.open_study",
        "pqsearch.run_list",
        "pqsearch.plan_comparison",
    ),
    ("trainers",),
    ("pqsearch.prepare",),
    ("pqsearch.tune",),
    (
        "pqsearch.ranks",
        "pqsearch.meeting",
        "pqsearch.finetunes",
        "pqsearch.baselines",
        "pqsearch.rebuild",
        "pqsearch.fixed_pointing",
        "pqsearch.post_training",
        "pqsearch.plots",
        "pqsearch.plotting",
        "pqsearch.meter_picture",
        "pqsearch.layer_values",
        "pqsearch.summary",
        "pqsearch.resolving",
        "pqsearch.simulating",
        "pqsearch.correlating",
        "pqsearch.latency",
        "pqsearch.pipeline",
        "pqsearch.in_memory",
        "pqsearch.estimate",
        "pqsearch.check",
        "pqsearch.applying",
        "pqsearch.merging",
        "pqsearch.meter",
        "pqsearch.dashboard",
    ),
    (
        "pqsearch.cli",
        "pqsearch.spec_commands",
        "pqsearch.study_commands",
        "pqsearch.dashboard_command",
        "pqsearch.job_commands",
        "pqsearch.runs_command",
        "pqsearch.__main__",
        "pqsearch",
    ),
)


def _modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _floor(module: str) -> int:
    if module == "pqsearch":
        return len(FLOORS) - 1
    best = max(
        ((len(name), floor) for floor, names in enumerate(FLOORS) for name in names
         if name != "pqsearch" and (module == name or module.startswith(name + "."))),
        default=None,
    )  # fmt: skip
    assert best is not None, f"{module} has no floor; name it in FLOORS"
    return best[1]


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {full for alias in node.names if (full := f"{node.module}.{alias.name}") in MODULES}
    return found


def _ours(names: set[str]) -> set[str]:
    # `from pqsearch import rooms` names the package and the module; the module is what counts.
    return {name for name in names if name in MODULES and name != "pqsearch"}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_from_its_floor_and_below(module: str) -> None:
    if module == "pqsearch":
        return  # loads lazily; the subprocess test below watches it
    higher = {name for name in _ours(_imports(MODULES[module])) if _floor(name) > _floor(module)}
    assert not higher


def test_algorithms_and_search_spaces_do_not_know_each_other() -> None:
    for module, path in MODULES.items():
        names = _imports(path)
        if module.startswith("pqsearch.algorithms"):
            assert not any(name.startswith("search_spaces") for name in names), module
        if module.startswith("search_spaces"):
            assert not any(name.startswith("pqsearch.algorithms") for name in names), module


def test_trainers_know_of_pqsearch_only_the_values_the_spec_the_rooms_and_what_users_bring() -> None:
    allowed = {
        "pqsearch.plan",
        "pqsearch.sparsity",
        "pqsearch.spec",
        "pqsearch.spec_network",
        "pqsearch.spec_search",
        "pqsearch.rooms",
        "pqsearch.own",
        "pqsearch.errors",
    }
    for module, path in MODULES.items():
        if module.startswith("trainers"):
            ours = {name for name in _ours(_imports(path)) if not name.startswith("trainers")}
            assert ours <= allowed, module


def test_only_the_tune_package_and_the_adapter_of_its_searchers_import_ray_tune() -> None:
    for module, path in MODULES.items():
        if not module.startswith("pqsearch.tune") and module != "pqsearch.algorithms._tune":
            names = _imports(path)
            assert not any(name.startswith("ray.tune") for name in names), module


def test_search_spaces_algorithms_and_study_load_without_torch_and_ray() -> None:
    code = (
        "import sys, pqsearch, pqsearch.study, pqsearch.open_study, pqsearch.rooms, search_spaces.space\n"
        "[pqsearch.rooms.load('algorithms', name) for name in pqsearch.rooms.names('algorithms')]\n"
        "print(sorted({'torch', 'ray'} & sys.modules.keys()))"
    )
    assert _python(code) == "[]"


def test_importing_pqsearch_pulls_in_neither_torch_nor_ray_nor_numpy() -> None:
    assert _python("import sys, pqsearch; print(sorted({'torch', 'ray', 'numpy'} & sys.modules.keys()))") == "[]"


def test_no_module_hides_a_library_or_the_standard_library() -> None:
    hidden = set(sys.stdlib_module_names) | {"torch", "ray", "optuna", "numpy", "thop", "plotly", "rich", "scipy"}
    assert not {path.stem for path in MODULES.values()} & hidden - {"__init__", "__main__"}


def test_the_wheel_holds_exactly_the_four_packages(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return done.stdout.strip()
