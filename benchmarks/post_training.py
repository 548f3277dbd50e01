"""Quantisation without training: what each way of setting grids leaves of a network's accuracy on the test images.

    python benchmarks/post_training.py --data cifar10-images.tar.gz --weights resnet20-cifar10.pth --runs FOLDER
        [--network resnet20] [--seeds 3] [--bits 8/8 4/8 4/4 3/8 2/8] [--methods NAME ...] [--iterations 1000] [--processes 2]
        [--json FILE] [--table FILE]

The paper's ResNets on CIFAR-10, weights adapted to the images for three epochs, or a MobileNetV2 trained here (`mobilenet_v2`, without
`--weights`); then quantised by each method at each number of bits (weights/activations), first and last layer at eight. Methods differ
in how steps are found; batch norm is measured anew on training images, augmented as in training (but for those of `norms not augmented`),
or merged. `ristretto` has one power of two a tensor, the rest a step per output channel of weights and one per tensor of activations.
`searched` is `pqsearch ptq` at the mean bits of the uniform plan, each layer with bits of its own, whose grids the calibrator named ahead
then finds. Seeds draw other calibration images, for brecq other batches, and plans. Peers (`pip install .[peers-post-training]`) are
brevitas and, at eight bits, onnxruntime and torchao. Every result is kept in FOLDER as soon as it is there; the same command goes on.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from _report import Row, at_least, json_argument, report, spread
from _searches import baseline_of

from pqsearch.plan import ModelInfo, Plan
from pqsearch.run_dir import write_atomically
from pqsearch.spec import Spec, load_spec

SPEC = Path(__file__).resolve().parents[1] / "examples" / "cifar10_ptq.toml"
#: What is said of each network beside that.
NETWORKS = {
    "resnet20": ["model.options.depth=20"],
    "resnet56": ["model.options.depth=56"],
    "mobilenet_v2": [
        # Scaled up, and with the published strides: at 32 pixels with fewer of them a step takes three times as long.
        'model.name="mobilenet_v2"', "model.options={ width = 0.5 }", "data.size=64",
        "baseline.epochs=8", "baseline.lr=0.2", "baseline.warmup_epochs=0.5",
    ],
}  # fmt: skip
BITS = ("8/8", "4/8", "4/4", "3/8", "2/8")
#: Those at which ways differ in whether they lose anything, not in how they fail.
EASY = BITS[:2]
#: What is measured once, whatever the bits.
ONCE = "float"
#: Networks that need no `--weights`.
TRAINED_HERE = frozenset(("mobilenet_v2",))
#: Calibration images of what learns and of what only looks; a seed draws them.
MANY, FEW = 1024, 128
#: The quantiser, its calibrator, keys of `[fixed_point]` where batch norm is merged; or who else does it, at which bits.
METHODS: dict[str, dict[str, Any]] = {
    "minmax": {"calibrator": "minmax"},
    "percentile": {"calibrator": "percentile", "bits": EASY},
    "entropy": {"calibrator": "entropy", "bits": EASY},
    "mse": {"calibrator": "mse"},
    "mse, norms not augmented": {"calibrator": "mse", "augment": (), "bits": EASY},
    "ristretto, unmerged": {"quantizer": "ristretto"},
    "ristretto, unmerged, covering": {"quantizer": "ristretto", "options": {"saturate": False}},
    "ristretto": {"fixed_point": {}},
    "ristretto, covering": {"fixed_point": {"saturate": False}},
    "ristretto, by loss": {"fixed_point": {"criterion": "loss"}, "bits": EASY},
    "ristretto, corrected": {"fixed_point": {"correct_bias": True}},
    "ristretto, equalised": {"fixed_point": {"equalize": True}},
    "ristretto, equalised, corrected": {"fixed_point": {"equalize": True, "correct_bias": True}},
    "brecq": {"calibrator": "brecq"},
    "mse, searched": {"calibrator": "mse", "searched": True, "bits": ("3/8",)},
    "brecq, searched": {"calibrator": "brecq", "searched": True, "bits": ("3/8",)},
    "brevitas": {"peer": "brevitas"},
    "onnxruntime": {"peer": "onnxruntime", "bits": ("8/8",)},
    "torchao": {"peer": "torchao", "bits": ("8/8",)},
}
#: Plans that are searched, by one worker, and the bits that their layers may have.
PLANS, LEVELS = 60, [2, 3, 4, 6, 8]
#: Points below float that are allowed, by method and bits.
BARS = {("ristretto", "8/8"): 0.2, ("brecq", "4/8"): 0.7, ("brecq", "2/8"): 6.0}
#: Points that a searched plan gains over the uniform one, at least.
GAIN = 0.01


def main() -> int:
    parser = json_argument(__doc__ or "")
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as an image folder or archive")
    parser.add_argument("--weights", type=Path, help="of the network, trained; without them it is trained here")
    parser.add_argument("--runs", type=Path, required=True, help="where results are kept")
    parser.add_argument("--network", choices=list(NETWORKS), default="resnet20")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--bits", nargs="+", default=list(BITS), metavar="W/A")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), metavar="NAME")
    parser.add_argument("--iterations", type=int, default=1000, help="of brecq, a block")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--table", type=Path, metavar="FILE", help="also write methods by bits as Markdown")
    options = parser.parse_args()
    if options.weights is None and options.network not in TRAINED_HERE:
        parser.error(f"--weights: is required for {options.network}; name its trained state dict")
    folder = options.runs / options.network
    overrides = [
        f'data.root="{options.data}"', f'study.run_dir="{folder / "baseline"}"',
        f"reconstruction.iterations={options.iterations}",
    ]  # fmt: skip
    if options.weights is not None:
        overrides.append(f'model.weights="{options.weights}"')
    spec = load_case_spec(options.network, overrides)
    baseline_of(spec)
    wanted = [(ONCE, "", 0)] + [
        (method, bits, seed)
        for bits in options.bits
        for method in options.methods
        if bits in METHODS[method].get("bits", options.bits)
        for seed in range(options.seeds)
    ]
    found = measured(spec, folder, wanted, options.iterations, options.processes)
    if options.table is not None:
        write_atomically(options.table, table(found))
    return report(list(rows(found, options.network)), options.json)


def load_case_spec(network: str, overrides: Sequence[str]) -> Spec:
    """The spec that all cases of a network share."""
    return load_spec(SPEC, [*NETWORKS[network], *overrides])


Case = tuple[str, str, int]


def measured(
    spec: Spec, folder: Path, wanted: Sequence[Case], iterations: int, processes: int
) -> dict[Case, dict[str, Any]]:
    """Accuracies of all cases, those of earlier calls read. Cases that fail are raised together, once all others are measured."""
    paths = {case: _path(folder, case, iterations) for case in wanted}
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    failures = []
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        work = {
            pool.submit(measure_case, spec.to_toml(), case, path): case
            for case, path in paths.items()
            if not path.is_file()
        }
        for future in as_completed(work):
            words = " ".join(map(str, work[future])).strip()
            try:
                print(f"{words}: {100 * future.result()['accuracy']:.2f} %", file=sys.stderr, flush=True)
            except Exception as error:
                error.add_note(f"in the case {words}")
                failures.append(error)
    if failures:
        raise ExceptionGroup("the same command measures them again", failures)
    return {case: json.loads(path.read_text()) for case, path in paths.items()}


def _path(folder: Path, case: Case, iterations: int) -> Path:
    method, bits, seed = case
    name = f"{method}-{bits}-{seed}".replace("/", "a").replace(", ", "-").replace(" ", "-")
    return folder / (f"{name}-{iterations}.json" if "brecq" in method else f"{name}.json")


def measure_case(spec_text: str, case: Case, path: Path) -> dict[str, Any]:
    """Quantise in a process of one's own, and write down at once: whoever waits for it may be killed."""
    result = _measure(spec_text, case)
    write_atomically(path, json.dumps(result))
    return result


def _measure(spec_text: str, case: Case) -> dict[str, Any]:
    """Accuracy on the test images, their number, seconds that quantising took."""
    import tomllib

    import torch

    from pqsearch.plan import LayerPlan
    from pqsearch.prepare import load_data
    from pqsearch.run_dir import RunDirectory
    from pqsearch.spec import parse_spec
    from trainers.compress import calibrate_steps, compress, learns, reestimate_norms
    from trainers.fixed_point.convert import calibrate, fixed_point
    from trainers.full import evaluate_test
    from trainers.proxy import make_context

    torch.set_num_threads(1)
    method, bits, seed = case
    spec = parse_spec(tomllib.loads(spec_text))
    run = RunDirectory.of(spec)
    dataset, splits = load_data(spec)
    context = make_context(spec, dataset, splits, run.baseline, run.scratch, torch.device("cpu"))
    network, began = context.baseline, time.perf_counter()
    if method != ONCE:
        weight, act = map(int, bits.split("/"))
        names = [layer.name for layer in context.traced.info.layers]
        layers = {name: LayerPlan(weight, act) for name in names}
        layers |= {name: LayerPlan(8, 8) for name in (names[0], names[-1])}
        images, labels = context.train.sample(MANY, "post-training", seed)
        how = METHODS[method]
        if "searched" in how:
            return _searched(spec, context.traced.info, Plan(layers=layers), how["calibrator"], act, case)
        if "fixed_point" in how:
            # The spec's section, whose bits are the plan's here.
            settings = spec.fixed_point.model_copy(update={"plan_bits": True, **how["fixed_point"]})  # type: ignore[union-attr]
            network = fixed_point(network, dataset.input_shape, settings, layers)

            def loss(one: Any) -> float:
                with torch.no_grad():
                    return context.task.total_loss(one(images[:FEW]), labels[:FEW])

            calibrate(network, images[:FEW], loss if settings.criterion == "loss" else None, settings.correct_bias)
        elif "peer" in how:
            from _post_training_peers import PEERS

            network = PEERS[how["peer"]](network, images[:FEW], weight, act)
        else:
            network = compress(
                network, Plan(layers=layers), traced=context.traced, quantizer=how.get("quantizer", "lsq"),
                quantizer_options=how.get("options"),
            )  # fmt: skip
            calibrator = how.get("calibrator", "mse")
            given = {**spec.reconstruction.options, "seed": seed} if learns(calibrator) else {}  # type: ignore[union-attr]
            calibrate_steps(network, images if learns(calibrator) else images[:FEW], calibrator, given)
            if not learns(calibrator):
                augment = how.get("augment", tuple(spec.data.augment))
                as_trained, _ = context.train.sample(MANY, "post-training", seed, augment=augment)
                reestimate_norms(network, as_trained.split(FEW))
    seconds = time.perf_counter() - began
    found = evaluate_test(network, dataset, torch.device("cpu"))
    return {"accuracy": found["test_accuracy"], "images": found["test_images"], "seconds": seconds}


def _searched(spec: Spec, info: ModelInfo, uniform: Plan, calibrator: str, act_bits: int, case: Case) -> dict[str, Any]:
    """A plan with bits of its own for each layer, no more of them in the mean than the uniform one has, searched, then reconstructed or
    calibrated on many images.
    """
    import pqsearch
    from pqsearch.run_dir import RunDirectory
    from pqsearch.space_of import space_of
    from pqsearch.spec import parse_spec
    from trainers.compress import learns

    mean, baseline = space_of(spec, info).costs_of(uniform)["weight_bits"], RunDirectory.of(spec)
    said = spec.to_dict()
    # Beside its result, and called like it: with other iterations it is another run.
    result = _path(baseline.path.parent, case, said["reconstruction"]["iterations"])
    said["study"] |= {"seed": case[2], "evaluations": PLANS, "confirm": 0, "run_dir": str(result.with_suffix(""))}
    said["model"]["weights"] = str(baseline.baseline)
    said["workers"]["count"] = 1
    said |= {
        "baseline": {"epochs": 0},
        "space": {"prune_rate": [0.0], "weight_bits": LEVELS, "act_bits": [act_bits]},
        "budgets": {"weight_bits": mean},
        "fixed_point": None,
    }
    if not learns(calibrator):
        said["reconstruction"] = {"calibrator": calibrator, "images": MANY}
    summary = pqsearch.ptq(parse_spec(said))
    found, beside = summary["searched"], summary["uniform"]
    return {
        "accuracy": found["test_accuracy"],
        "images": found["test_images"],
        "seconds": sum(summary["seconds"].values()),  # of all calls, where earlier ones were killed
        "uniform": beside["test_accuracy"],
        "bits": [found["mean_weight_bits"], beside["mean_weight_bits"]],
    }


def rows(found: dict[Case, dict[str, Any]], network: str) -> Iterator[Row]:
    """Mean accuracy of each method at each number of bits, over its seeds, and what has a bar against float."""
    float_accuracy = 100 * found[ONCE, "", 0]["accuracy"]
    yield Row(f"{network}: float, n={found[ONCE, '', 0]['images']}", float_accuracy, "%")
    for (method, bits), results in _by_seeds(found).items():
        accuracies = [100 * one["accuracy"] for one in results]
        seconds = statistics.fmean(one["seconds"] for one in results)
        weight, _, act = bits.partition("/")
        name = f"W{weight}A{act} {method}: {seconds:.0f} s, sd {spread(accuracies):.2f} of {len(results)} seeds"
        yield Row(name, statistics.fmean(accuracies), "%")
        if (method, bits) in BARS:
            gain = statistics.fmean(accuracies) - float_accuracy
            yield at_least(f"W{weight}A{act} {method} against float", gain, "points", -BARS[method, bits])
        if "uniform" in results[0]:
            gains = [100 * (one["accuracy"] - one["uniform"]) for one in results]
            name = f"W{weight}A{act} {method} against uniform bits in the same runs, sd {spread(gains):.2f}"
            yield at_least(name, statistics.fmean(gains), "points", GAIN)


def table(found: dict[Case, dict[str, Any]]) -> str:
    """Mean accuracy in percent of each method (a row) at each number of bits (a column), and its standard deviation over seeds."""
    groups = _by_seeds(found)
    measured = {method for method, _ in groups}
    methods, columns = [one for one in METHODS if one in measured], sorted({bits for _, bits in groups}, reverse=True)
    lines = [
        f"| | {' | '.join('W{}A{}'.format(*bits.split('/')) for bits in columns)} | s |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for method in methods:
        cells, seconds = [], []
        for bits in columns:
            results = groups.get((method, bits), [])
            accuracies = [100 * one["accuracy"] for one in results]
            seconds += [one["seconds"] for one in results]
            of_seeds = f" (sd {spread(accuracies):.2f})" if len(accuracies) > 1 else ""
            cells.append(f"{statistics.fmean(accuracies):.2f}{of_seeds}" if accuracies else "")
        lines.append(f"| {method} | {' | '.join(cells)} | {statistics.fmean(seconds):.0f} |")
    return "\n".join(lines) + "\n"


def _by_seeds(found: dict[Case, dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """What all seeds gave, by method and bits."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for (method, bits, _), result in found.items():
        if method != ONCE:
            groups.setdefault((method, bits), []).append(result)
    return groups


if __name__ == "__main__":
    sys.exit(main())
