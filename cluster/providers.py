"""What differs between those who have the machines: the provider's part of a file for `ray up`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cluster.machines import machine_for
from cluster.sizing import Nodes
from pqsearch.errors import UserError


@dataclass(frozen=True)
class Choice:
    """What was asked for of a cloud's machines; None is the provider's own default."""

    nodes: Nodes
    region: str | None
    zone: str | None
    project: str | None
    machine: str | None
    machine_image: str | None
    disk: int
    spot: bool


def aws(choice: Choice) -> dict[str, Any]:
    """Without an AMI Ray takes one of its own, which is too old for the GPUs' drivers that torch wants."""
    _needs_an_image_for_gpus(choice, "a current AMI with NVIDIA drivers and Docker in that region")
    node: dict[str, Any] = {
        "InstanceType": choice.machine or machine_for("aws", choice.nodes),
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": choice.disk, "VolumeType": "gp3"}}],
    }
    if choice.machine_image:
        node["ImageId"] = choice.machine_image
    worker = {**node, "InstanceMarketOptions": {"MarketType": "spot"}} if choice.spot else node
    return {
        # Machines that are stopped instead of ended go on costing their disks.
        "provider": {"type": "aws", "region": choice.region or "us-west-2", "cache_stopped_nodes": False},
        **_node_types(choice.nodes, node, worker),
        "head_setup_commands": ["pip install --quiet boto3"],
    }


def gcp(choice: Choice) -> dict[str, Any]:
    if choice.project is None:
        raise UserError("--project: is needed by gcp, got nothing; give the id of your project")
    _needs_an_image_for_gpus(
        choice, "a current deep learning image with CUDA, as in projects/PROJECT/global/images/family/FAMILY"
    )
    region = choice.region or "us-west1"
    image = choice.machine_image or "projects/deeplearning-platform-release/global/images/family/common-cpu"
    node: dict[str, Any] = {
        "machineType": choice.machine or machine_for("gcp", choice.nodes),
        "disks": [
            {
                "boot": True,
                "autoDelete": True,
                "type": "PERSISTENT",
                "initializeParams": {"diskSizeGb": choice.disk, "sourceImage": image},
            }
        ],
    }
    scheduling: list[dict[str, Any]] = []
    if choice.nodes.gpus:
        node["metadata"] = {"items": [{"key": "install-nvidia-driver", "value": "True"}]}
        scheduling.append({"onHostMaintenance": "TERMINATE"})  # machines with GPUs cannot be moved
    worker = dict(node)
    if scheduling:
        node["scheduling"] = scheduling
    if choice.spot:
        scheduling = [*scheduling, {"preemptible": True}]
    if scheduling:
        worker["scheduling"] = scheduling
    zone = choice.zone or f"{region}-b"
    return {
        "provider": {"type": "gcp", "region": region, "availability_zone": zone, "project_id": choice.project},
        **_node_types(choice.nodes, node, worker),
        "head_setup_commands": ["pip install --quiet google-api-python-client"],
    }


def local(head: str | None, workers: Sequence[str]) -> dict[str, Any]:
    """Hosts of one's own: all of them are used, as large as they are."""
    if head is None:
        raise UserError("--head: is needed by local, got nothing; give the host of the head, and others with --workers")
    if head in workers:
        raise UserError(f"--workers: {head} is the head, which works as well; leave it out")
    return {
        "provider": {"type": "local", "head_ip": head, "worker_ips": list(workers)},
        "max_workers": len(workers),
    }


def _needs_an_image_for_gpus(choice: Choice, what: str) -> None:
    if choice.nodes.gpus and choice.machine_image is None:
        raise UserError(f"--machine-image: is needed where workers have GPUs, got nothing; give {what}")


def _node_types(nodes: Nodes, head: dict[str, Any], worker: dict[str, Any]) -> dict[str, Any]:
    """The head takes workers, too. Resources are said: a larger machine gets no more workers than were asked for."""
    resources = {"CPU": nodes.cpus, **({"GPU": nodes.gpus} if nodes.gpus else {})}
    types: dict[str, Any] = {"head": {"resources": resources, "node_config": head, "min_workers": 0, "max_workers": 0}}
    if nodes.count > 1:
        most = nodes.count - 1
        types["worker"] = {"resources": resources, "node_config": worker, "min_workers": 0, "max_workers": most}
    return {"max_workers": nodes.count - 1, "head_node_type": "head", "available_node_types": types}
