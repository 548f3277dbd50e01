"""What the files for clusters are rendered from in the tests, and the golden files: `python -m tests.cluster.cases` renews them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.order import Order
from cluster.rendered import Rendered
from pqsearch import rooms
from pqsearch.spec import Spec, parse_spec
from tests.conftest import small_spec

GOLDEN = Path(__file__).parent / "golden"
HERE = "/home/you/project"
ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Case:
    target: str
    ending: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()

    def rendered(self) -> Rendered:
        order = order_of(overrides=self.overrides, **self.changes)
        return rooms.load("clusters", self.target)(order, **self.options)


GPUS = {"workers__count": 6, "workers__cpus": 2, "workers__gpus": 0.5}
CLOUD = {"image": "team/pqsearch:1", "nfs": "files.internal:/search"}
CASES = {
    "kuberay": Case("kuberay", "yaml"),
    "kuberay-gpus": Case(
        "kuberay", "yaml",
        {**GPUS, "data__root": f"{HERE}/images.tar.gz", "study__storage": "postgresql://me:secret@db.internal/studies"},
        {"namespace": "research", "database_secret": "studies", "hours": 12.0, "auth": "token", "memory": 8},
    ),
    "aws": Case(
        "autoscaler", "yaml", {"workers__count": 20, "data__root": "/pqsearch/images"}, {"provider": "aws", "spot": True, **CLOUD}
    ),
    "aws-gpus": Case("autoscaler", "yaml", GPUS, {"provider": "aws", "machine_image": "ami-0123456789abcdef0", **CLOUD}),
    "aws-one-machine": Case("autoscaler", "yaml", {}, {"provider": "aws", "image": "team/pqsearch:1"}),
    "gcp-gpus": Case(
        "autoscaler", "yaml", GPUS,
        {"provider": "gcp", "project": "lab", "spot": True, "machine_image": "projects/lab/global/images/family/cuda", **CLOUD},
    ),
    "local": Case("autoscaler", "yaml", {}, {"provider": "local", "head": "10.0.0.1", "workers": ["10.0.0.2", "10.0.0.3"]}),
    "grafana": Case("grafana", "json"),
    "slurm": Case("slurm", "sh", {"workers__count": 20}, overrides=("study.name=small",)),
    "slurm-gpus": Case(
        "slurm", "sh", {**GPUS, "study__name": "with-gpus"},
        {"partition": "gpu", "account": "lab", "gpu_type": "a100", "time": "2-00:00:00", "setup": ["source .venv/bin/activate"]},
    ),
}  # fmt: skip


def spec_of(**changes: Any) -> Spec:
    return parse_spec(small_spec(**changes))


def order_of(source: str = "specs/small.toml", overrides: tuple[str, ...] = (), **changes: Any) -> Order:
    """An order that is the same on every machine."""
    return Order(spec_of(**changes), source, HERE, "2.60.0", overrides)


def golden(name: str) -> Path:
    return GOLDEN / f"{name}.{CASES[name].ending}"


if __name__ == "__main__":
    for name, case in CASES.items():
        golden(name).write_text(case.rendered().text)
        print(golden(name).relative_to(ROOT))
