"""Machines that Ray itself rents or reaches: a file for `ray up`, with the autoscaler on the head."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, Literal

from cluster import providers
from cluster.image import GROUP_OF_RAY, USER_OF_RAY
from cluster.local import OBJECT_STORE_BYTES
from cluster.names import EXPORT, FOLDER, HOST, IMAGE, PATH, WORD, check, dns_name
from cluster.order import Order
from cluster.rendered import Rendered
from cluster.sizing import Nodes
from pqsearch.errors import UserError
from pqsearch.rooms import Doc, Range

#: Clouds put it into names of their own, which may have 63 characters.
LONGEST_NAME = 40
#: Options that some providers have no use for.
OF_PROVIDERS = {
    "region": ("aws", "gcp"),
    "machine": ("aws", "gcp"),
    "machine_image": ("aws", "gcp"),
    "nfs": ("aws", "gcp"),
    "zone": ("gcp",),
    "project": ("gcp",),
    "head": ("local",),
    "workers": ("local",),
}
#: Paths that the command takes with it in its working directory.
OF_THE_WORKING_DIRECTORY = ("model.folder", "algorithm.folder")


def render(
    order: Order,
    *,
    provider: Annotated[Literal["aws", "gcp", "local"], Doc("Who has the machines; `local`: you have.")],
    image: Annotated[
        str | None,
        Doc("Container image that the nodes can pull; with `local` none: pqsearch is installed on every host."),
    ] = None,
    region: Annotated[str | None, Doc("Region of the cloud (us-west-2, us-west1).")] = None,
    zone: Annotated[str | None, Doc("Zone, gcp only (the region's b).")] = None,
    project: Annotated[str | None, Doc("Project, gcp only.")] = None,
    machine: Annotated[str | None, Doc("Machine type; by default the smallest that fits.")] = None,
    machine_image: Annotated[
        str | None, Doc("AMI (aws) or source image (gcp) with Docker, and with drivers where there are GPUs.")
    ] = None,
    disk: Annotated[int, Doc("GB of each machine's disk."), Range(20, 65536)] = 150,
    spot: Annotated[bool, Doc("Workers, not the head, on machines that the cloud may take back.")] = False,
    nfs: Annotated[str | None, Doc("HOST:/EXPORT of the file system that all nodes share.")] = None,
    shared: Annotated[str, Doc("Where all nodes see it.")] = "/pqsearch",
    head: Annotated[str | None, Doc("Host of the head, local only.")] = None,
    workers: Annotated[list[str] | None, Doc("Another host, local only; may be repeated.")] = None,
    ssh_user: Annotated[str, Doc("User on the machines.")] = "ubuntu",
    ssh_key: Annotated[str | None, Doc("Private key; for clouds Ray makes one unless given.")] = None,
    workers_per_node: Annotated[
        int | None, Doc("Workers on a node; by default those that share a GPU, or fit in 8 cores."), Range(1, 1024)
    ] = None,
    idle_minutes: Annotated[
        float, Doc("A worker node without work is given back after so long."), Range(0.1, 10000)
    ] = 5.0,
) -> Rendered:
    """The cluster for `ray up`."""
    for option, value, rule in (
        ("image", image, IMAGE),
        ("region", region, WORD),
        ("zone", zone, WORD),
        ("project", project, WORD),
        ("machine", machine, WORD),
        ("machine-image", machine_image, WORD),
        ("nfs", nfs, EXPORT),
        ("shared", shared, FOLDER),
        ("head", head, HOST),
        ("ssh-user", ssh_user, WORD),
        ("ssh-key", ssh_key, PATH),
        *(("workers", host, HOST) for host in workers or ()),
    ):
        check(option, value, rule)
    given = {"region": region, "machine": machine, "machine_image": machine_image, "nfs": nfs, "zone": zone}
    given |= {"project": project, "head": head, "workers": " ".join(workers or ()) or None}
    for key, value in given.items():
        if value is not None and provider not in OF_PROVIDERS[key]:
            raise UserError(
                f"--{key.replace('_', '-')}: is for {' and '.join(OF_PROVIDERS[key])}, got {value!r} with --provider "
                f"{provider}; leave it out"
            )
    if order.source.startswith("/"):
        raise UserError(
            f"SPEC: {order.source} is not below {order.here}, which the job takes with it; go to a folder above it"
        )
    nodes = Nodes.of(order.spec.workers, workers_per_node)
    if provider == "local":
        machines = providers.local(head, workers or [])
    else:
        _needed(nodes, image, nfs, shared)
        choice = providers.Choice(nodes, region, zone, project, machine, machine_image, disk, spot)
        machines = providers.aws(choice) if provider == "aws" else providers.gcp(choice)
    config = {
        "cluster_name": dns_name(order.spec.study.name, LONGEST_NAME),
        "idle_timeout_minutes": idle_minutes,
        "auth": {"ssh_user": ssh_user, **({"ssh_private_key": ssh_key} if ssh_key else {})},
        **machines,
        "docker": _docker(image, shared) if image else {},
        "initialization_commands": [] if provider == "local" else _mount(nfs, shared) if nfs else [_folder(shared)],
        # Said, even where empty: what is not said, Ray takes from its own defaults, and they install another Ray.
        "setup_commands": [],
        "head_setup_commands": machines.get("head_setup_commands", []),
        "worker_setup_commands": [],
        **_start(),
    }
    return Rendered((config,), _notes(order, config, shared))


def _needed(nodes: Nodes, image: str | None, nfs: str | None, shared: str) -> None:
    problems = []
    if image is None:
        problems.append(
            "--image: is needed, got nothing; build one with the Dockerfile and push it where the nodes can pull it"
        )
    if nfs is None and nodes.count > 1:
        problems.append(
            f"--nfs: is needed, as {nodes.count} nodes share the run directory, got nothing; give HOST:/EXPORT of a file "
            f"system (it becomes {shared}), or put all workers on one node with --workers-per-node"
        )
    if problems:
        raise UserError(problems)


def _docker(image: str, shared: str) -> dict[str, Any]:
    options = [f"--volume={shared}:{shared}", "--ulimit=nofile=65536:65536"]
    return {"image": image, "container_name": "pqsearch", "pull_before_run": True, "run_options": options}


def _folder(shared: str) -> str:
    """A folder of the machine in which the user that images of Ray run as may write."""
    return f"sudo install -d -o {USER_OF_RAY} -g {GROUP_OF_RAY} {shlex.quote(shared)}"


def _mount(nfs: str, shared: str) -> list[str]:
    """On the machine, outside of the container. Repeating it changes nothing."""
    source, target = shlex.quote(nfs), shlex.quote(shared)
    return [
        "command -v mount.nfs > /dev/null || (sudo apt-get update -qq && sudo apt-get install -y -qq nfs-common)",
        f"sudo mkdir -p {target}",
        f"mountpoint -q {target} || sudo mount -t nfs -o nfsvers=4.1,hard {source} {target}",
    ]


def _start() -> dict[str, list[str]]:
    """The dashboard and the job server stay on the head's loopback: `ray dashboard` tunnels to them."""
    common = f"--object-manager-port=8076 --object-store-memory={OBJECT_STORE_BYTES} --disable-usage-stats"
    head = "ray start --head --port=6379 --dashboard-host=127.0.0.1 --autoscaling-config=~/ray_bootstrap_config.yaml"
    return {
        "head_start_ray_commands": ["ray stop", f"ulimit -n 65536; {head} {common}"],
        "worker_start_ray_commands": ["ray stop", f"ulimit -n 65536; ray start --address=$RAY_HEAD_IP:6379 {common}"],
    }


def _notes(order: Order, config: dict[str, Any], shared: str) -> tuple[str, ...]:
    paths = {key: path for key, path in order.paths_below(shared).items() if key not in OF_THE_WORKING_DIRECTORY}
    plans = [path for key, path in paths.items() if key.startswith("study.plans[")]
    settings = [f"{key}={path}" for key, path in paths.items() if not key.startswith("study.plans[")]
    settings += [f"study.plans={plans}"] if plans else []
    command = [*order.command, *(part for text in settings for part in ("--set", text))]
    submit = ["ray", "job", "submit", "--address", "http://127.0.0.1:8265", "--working-dir", ".", "--", *command]
    there = [f"  {path}  ({key})" for key, path in paths.items() if key != "study.run_dir"]
    return (
        f"The cluster {config['cluster_name']} for the search {order.spec.study.name}, up to {order.spec.workers.count} workers.",
        "  ray up FILE",
        "  ray dashboard FILE             in another terminal: makes the head's port 8265 one of this machine",
        f"  {shlex.join(submit)}",
        "  ray down FILE",
        f"All nodes share {shared}. Results: {paths['study.run_dir']}",
        *(("To be there before:", *there) if there else ()),
    )
