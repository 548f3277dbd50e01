"""What two specs of one run may differ in, and what they differ in besides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pqsearch.environment import as_sent
from pqsearch.spec import Spec

#: Keys that may change between two commands on one run directory: they do not touch what was measured.
FREE_KEYS = (
    "workers",
    "baseline.workers",
    "finetune.workers",
    "study.evaluations",
    "study.confirm",
    "study.retest",
    "study.hours",
    "study.patience",
    "budgets",
    "algorithm",
    "halving",
    "study.run_dir",
    "study.storage",
    "study.optuna_log",
    "data.cache",
    "latency.table",  # where it is; what stands in it is compared
    "export",
    "fixed_point",
)
#: Keys of `[space]` that there have not always been: journals of before have none of them.
LATER_SPACE_KEYS = ("tie", "tie_bits", "sparsity", "sparsity_pattern")


def differences(before: Spec, now: Spec) -> Iterator[tuple[str, str, str]]:
    """Keys that may not change and have, with both values in words."""
    had, has = _flat(before.to_dict()), _flat(now.to_dict())
    for key in sorted(had.keys() | has.keys()):
        if _plain(had.get(key)) != _plain(has.get(key)) and not key.startswith(FREE_KEYS):
            yield key, _say(had, key), _say(has, key)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {
            k: v for key, inner in value.items() for k, v in _flat(inner, f"{prefix}.{key}" if prefix else key).items()
        }
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {k: v for i, inner in enumerate(value) for k, v in _flat(inner, f"{prefix}[{i}]").items()}
    return {prefix: value}


def _plain(value: Any) -> Any:
    """A value without what a cluster puts before the paths in it."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return as_sent(value) if isinstance(value, str) else value


def _say(values: Mapping[str, Any], key: str) -> str:
    return repr(values[key]) if key in values else "nothing"
