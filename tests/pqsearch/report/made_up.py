"""A made-up run for the report's tests: three layers, one group that is never pruned, a dozen candidates."""

from __future__ import annotations

from typing import Any

from pqsearch.plan import GroupInfo, LayerInfo, LayerPlan, ModelInfo, NormInfo, Plan, Source
from pqsearch.report.correlation import final_correlations, rung_correlations

IMAGES = 1000


def model_info(name: str = "body.conv2") -> ModelInfo:
    """Two convolutions and a classifier; 8 x 8 images of one channel."""

    def layer(name: str, kind: str, source: Source, output: int, inner: int, outer: int, size: int) -> LayerInfo:
        kernel = 9 if kind == "conv" else 1
        return LayerInfo(name, kind, (source,), output, inner, outer, kernel, 1, size, size, kind == "linear")

    return ModelInfo(
        layers=(
            layer("conv1", "conv", Source(-1, 1), 0, 1, 8, 64),
            layer(name, "conv", Source(0, 8), 1, 8, 16, 64),
            layer("linear", "linear", Source(1, 16), 2, 16, 10, 1),
        ),
        groups=(
            GroupInfo("conv1", 8, 1, ("conv1",), True),
            GroupInfo(name, 16, 1, (name,), True),
            GroupInfo("linear", 10, 1, ("linear",), False, "its channels are the model's outputs"),
        ),
        norms=(NormInfo("bn1", (Source(0, 8),), 2, 2),),
        other_params=0,
        input_shape=(1, 8, 8),
    )


def plan(rate: float = 0.25, bits: int = 4, name: str = "body.conv2") -> dict[str, Any]:
    layers = {"conv1": LayerPlan(8, 8), name: LayerPlan(bits, bits), "linear": LayerPlan(8, 8)}
    return Plan({"conv1": 0.0, name: rate}, layers).to_json()


def role(accuracy: float, **changes: Any) -> dict[str, Any]:
    """One role of a summary."""
    return {
        "test_accuracy": accuracy, "test_images": IMAGES,
        "test_standard_error": (accuracy * (1 - accuracy) / IMAGES) ** 0.5,
        "select_accuracy": accuracy, "select_images": 150, "macs": 500_000, "flops": 0.5, "params": 40_000,
        "params_ratio": 0.4, "mean_weight_bits": 3.9, "mean_act_bits": 4.0, "bitops": 0.01, "size_bytes": 20_480,
        "plan_hash": f"plan-{accuracy:g}", "seconds": 3.2,
    } | changes  # fmt: skip


def difference(value: float, error: float = 0.005) -> dict[str, Any]:
    return {"value": value, "standard_error": error, "images": IMAGES}


def summary(**changes: Any) -> dict[str, Any]:
    """A finished run's summary; `changes` replace keys, None takes one out."""
    whole = {"macs": 1_000_000, "flops": 1.0, "params": 100_000, "mean_weight_bits": 32.0, "mean_act_bits": 32.0}
    made: dict[str, Any] = {
        "format": 1, "name": "made-up", "seed": 3, "budgets": {"flops": 0.5, "weight_bits": 4.0, "act_bits": 4.0},
        "evaluations": 12, "asked": 14, "failed": 1, "stopped": "evaluations", "warnings": [],
        "seconds": {"baseline": 4.0, "search": 120.5, "finetune": 16.0, "export": 0.1},
        "versions": {"torch": "2.14.1"}, "hardware": {"cores": 2}, "quantizer": {"name": "lsq"}, "proxy_noise": None,
        "baseline": role(0.95, size_bytes=409_600, **whole),
        "baseline_finetuned": role(0.955, size_bytes=409_600, **whole),
        "searched": role(0.94), "uniform": role(0.90), "uniform_filled": role(0.91),
        "differences": {
            "searched - uniform": difference(0.04), "searched - uniform_filled": difference(0.03),
            "searched - baseline": difference(-0.01), "searched - baseline_finetuned": difference(-0.015),
        },
        "correlation": {"rungs": rung_correlations(candidates(), 2), "final": None},
        "verdict": "Ship the searched plan.",
    }  # fmt: skip
    made |= changes
    return {key: value for key, value in made.items() if value is not None}


def candidate(id: int, rungs: tuple[float, ...], **changes: Any) -> dict[str, Any]:
    """A finished candidate with an accuracy for each rung."""
    measurements = [
        {"rung": rung, "repeat": 0, "accuracy": value, "images": 300, "loss": 1 - value, "seconds": {"train": 1.0}}
        for rung, value in enumerate(rungs)
    ]
    return {
        "id": id, "kind": "candidate", "genes": [0, 1, 2], "plan_hash": f"{id:016x}", "state": "done",
        "rung": len(rungs) - 1, "values": [1 - value for value in rungs],
        "costs": {"flops": 0.4 + id / 200, "weight_bits": 3.9, "act_bits": 4.0, "params": 0.4},
        "worker": "worker-0", "seconds": 1.5, "times_evaluated": 1, "accuracy": rungs[-1], "images": 300, "role": None,
        "failure": None, "repeats": [rungs[-1]], "measurements": measurements, "same_as": None, "plan": plan(),
    } | changes  # fmt: skip


def candidates() -> list[dict[str, Any]]:
    """Two uniform plans, eight others (the fifth measured again), one that failed, one that was known already."""
    rows = [candidate(0, (0.3, 0.80), role="uniform"), candidate(1, (0.32, 0.82), role="uniform_filled")]
    rows += [candidate(2 + index, (0.4 + index / 100, 0.84 + index / 100)) for index in range(8)]
    rows[4]["repeats"] = [0.86, 0.88, 0.84]
    empty = {"accuracy": None, "images": None, "rung": None, "values": [], "repeats": [], "measurements": []}
    rows.append(candidate(10, (0.5,), state="failed", failure="the loss became nan", **empty))
    rows.append(candidate(11, (0.5,), state="same", same_as=4, times_evaluated=0, **empty))
    return rows


def correlation(plans: int, failed: int = 0) -> dict[str, Any]:
    """The content of correlation.json: as many plans in order, the last one uniform."""
    rows = [
        {
            "id": index, "plan_hash": f"{index:016x}", "role": "uniform" if index == plans - 1 else None,
            "score": 0.3 + index / 10, "proxy_accuracy": 0.9 - index / 50, "proxy_images": 300, "measurements": 1,
            "select_accuracy": 0.95 - index / 100, "select_images": 150, "select_standard_error": 0.02,
            "test_accuracy": 0.94 - index / 100, "test_images": IMAGES, "test_standard_error": 0.008, "seconds": 3.0,
        }
        for index in range(plans)
    ]  # fmt: skip
    lost = [
        {"id": 90 + index, "plan_hash": "f" * 16, "role": None, "reason": "finetune.lr: nan"} for index in range(failed)
    ]
    return {
        "format": 1, "asked": plans + failed, "score": "loss", **final_correlations(rows), "plans": rows, "failed": lost,
    }  # fmt: skip
