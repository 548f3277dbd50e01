"""Kubernetes with KubeRay: a `RayJob` that brings up its own Ray cluster, runs the search and goes away."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, Literal

from cluster.image import GROUP_OF_RAY
from cluster.local import OBJECT_STORE_BYTES
from cluster.names import FOLDER, IMAGE, LABEL, SUBDOMAIN, check, dns_name
from cluster.order import Order
from cluster.rendered import Rendered
from cluster.sizing import Nodes
from pqsearch.rooms import Doc, Range

#: KubeRay refuses longer names of jobs.
LONGEST_NAME = 47
SPEC_FOLDER = "/etc/pqsearch"
#: Seconds: a worker without work goes; the pods stay a little for those who read logs; a stopped search closes its journal.
IDLE, KEPT, STOPPING = 120, 120, 60


def render(
    order: Order,
    *,
    image: Annotated[str, Doc("Container image, as the Dockerfile makes it.")] = "pqsearch:local",
    namespace: Annotated[str, Doc("Namespace of all objects.")] = "default",
    claim: Annotated[str, Doc("PersistentVolumeClaim that all pods mount: runs, data, weights.")] = "pqsearch",
    shared: Annotated[
        str, Doc("Where the pods mount it; what the spec names by relative paths is below it.")
    ] = "/pqsearch",
    workers_per_node: Annotated[
        int | None, Doc("Workers in a pod; by default those that share a GPU, or fit in 8 cores."), Range(1, 1024)
    ] = None,
    memory: Annotated[int, Doc("GiB of memory for each worker."), Range(1, 4096)] = 4,
    retries: Annotated[int, Doc("New clusters after a failure; each continues the study."), Range(0, 100)] = 3,
    hours: Annotated[float | None, Doc("The whole job ends after so many hours."), Range(0.01, 100000)] = None,
    database_secret: Annotated[
        str | None, Doc("Secret whose key `password` is that of the database in study.storage.")
    ] = None,
    auth: Annotated[
        Literal["disabled", "token"], Doc("Ray's own authentication inside the cluster; KubeRay makes the token.")
    ] = "disabled",
) -> Rendered:
    """A ConfigMap with the spec, and the RayJob."""
    for option, value, rule in (
        ("image", image, IMAGE),
        ("namespace", namespace, LABEL),
        ("claim", claim, SUBDOMAIN),
        ("shared", shared, FOLDER),
        ("database-secret", database_secret, SUBDOMAIN),
    ):
        check(option, value, rule)
    nodes = Nodes.of(order.spec.workers, workers_per_node)
    name = dns_name(order.spec.study.name, LONGEST_NAME)
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": {"app.kubernetes.io/name": "pqsearch", "app.kubernetes.io/instance": name},
    }
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"spec.toml": order.spec_below(shared).to_toml(defaults=False)},
    }
    pods = _Pods(image, claim, shared, nodes, nodes.memory(memory), database_secret, config=name)
    cluster: dict[str, Any] = {"rayVersion": order.ray, "headGroupSpec": pods.group("head")}
    if auth == "token":
        cluster["authOptions"] = {"mode": "token"}
    if nodes.count > 1:
        workers = {"groupName": "workers", "replicas": 0, "minReplicas": 0, "maxReplicas": nodes.count - 1}
        cluster |= {
            "enableInTreeAutoscaling": True,
            "autoscalerOptions": {"version": "v2", "upscalingMode": "Default", "idleTimeoutSeconds": IDLE},
            "workerGroupSpecs": [{**workers, **pods.group("worker")}],
        }
    spec: dict[str, Any] = {
        "entrypoint": shlex.join(["pqsearch", "run", f"{SPEC_FOLDER}/spec.toml"]),
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": KEPT,
        "backoffLimit": retries,
    }
    if hours is not None:
        spec["activeDeadlineSeconds"] = round(hours * 3600)
    ray_job = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": metadata,
        "spec": {**spec, "rayClusterSpec": cluster},
    }
    return Rendered((config, ray_job), _notes(order, name, namespace, claim, shared, nodes))


class _Pods:
    """The pods of head and workers, which differ in what is mounted and in how Ray is started."""

    def __init__(
        self, image: str, claim: str, shared: str, nodes: Nodes, memory: int, secret: str | None, config: str
    ) -> None:
        self.image, self.claim, self.shared, self.nodes = image, claim, shared, nodes
        self.memory, self.secret, self.config = memory, secret, config

    def group(self, kind: str) -> dict[str, Any]:
        start = {
            "num-cpus": str(self.nodes.cpus),
            "num-gpus": str(self.nodes.gpus),
            "object-store-memory": str(OBJECT_STORE_BYTES),
        }
        return {"rayStartParams": start, "template": {"spec": self._pod(kind)}}

    def _pod(self, kind: str) -> dict[str, Any]:
        mounts = [{"name": "shared", "mountPath": self.shared}]
        volumes: list[dict[str, Any]] = [{"name": "shared", "persistentVolumeClaim": {"claimName": self.claim}}]
        if kind == "head":  # the command runs there
            mounts.append({"name": "spec", "mountPath": SPEC_FOLDER})
            volumes.append({"name": "spec", "configMap": {"name": self.config}})
        # Memory and GPUs are a node's own; cores that nobody else uses may be used.
        limits: dict[str, Any] = {"memory": f"{self.memory}Gi"}
        if self.nodes.gpus:
            limits["nvidia.com/gpu"] = self.nodes.gpus
        pod: dict[str, Any] = {
            "restartPolicy": "Never",  # the autoscaler replaces pods
            "terminationGracePeriodSeconds": STOPPING + 30,
            "securityContext": {"fsGroup": GROUP_OF_RAY},  # it may then write on the volume
            "containers": [
                {
                    "name": f"ray-{kind}",
                    "image": self.image,
                    "env": self._environment(),
                    "resources": {"requests": {"cpu": self.nodes.cpus, **limits}, "limits": limits},
                    "volumeMounts": mounts,
                }
            ],
            "volumes": volumes,
        }
        if self.nodes.gpus:
            pod["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
        return pod

    def _environment(self) -> list[dict[str, Any]]:
        environment: list[dict[str, Any]] = [
            {"name": "RAY_JOB_STOP_WAIT_TIME_S", "value": str(STOPPING)},
            {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"},
        ]
        if self.secret is not None:
            key = {"secretKeyRef": {"name": self.secret, "key": "password"}}
            environment.append({"name": "PGPASSWORD", "valueFrom": key})
        return environment


def _notes(order: Order, name: str, namespace: str, claim: str, shared: str, nodes: Nodes) -> tuple[str, ...]:
    there = [f"  {path}  ({key})" for key, path in order.paths_below(shared).items() if key != "study.run_dir"]
    mode = "ReadWriteMany" if nodes.count > 1 else "ReadWriteOnce"
    return (
        f"The search {order.spec.study.name} on {nodes.count} pods, the head among them, for up to {order.spec.workers.count} workers.",
        f"  kubectl apply -f FILE          kubectl --namespace {namespace} get rayjob {name}",
        f"Needs KubeRay, the image, and the claim {claim} ({mode}). Results: {order.paths_below(shared)['study.run_dir']}",
        *(("To be on that volume before:", *there) if there else ()),
    )
