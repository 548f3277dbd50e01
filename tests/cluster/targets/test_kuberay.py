from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.targets import kuberay
from pqsearch.spec import load_spec
from tests.cluster.cases import CASES, GPUS, order_of
from tests.cluster.checks import kubernetes_problems

RENDERED = [name for name, case in CASES.items() if case.target == "kuberay"]


def _documents(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


def _cluster(**changes: Any) -> dict[str, Any]:
    _, job = kuberay.render(order_of(**changes)).value
    return job["spec"]["rayClusterSpec"]


@pytest.mark.parametrize("name", RENDERED)
def test_kubernetes_accepts_config_maps_and_pods(name: str) -> None:
    assert kubernetes_problems(_documents(CASES[name].rendered().text)) == []


@pytest.mark.parametrize(
    "field", ["volumeMounts:", "claimName:", "secretKeyRef:", "requests:", "tolerations:", "data:"]
)
def test_a_misspelt_field_of_kubernetes_is_refused(field: str) -> None:
    text = CASES["kuberay-gpus"].rendered().text
    misspelt = text.replace(field, f"x{field}")
    assert misspelt != text
    assert kubernetes_problems(_documents(misspelt))


def test_pods_have_gpus_where_workers_want_some_and_the_head_has_one_too() -> None:
    cluster = _cluster(**GPUS)
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
        assert group["rayStartParams"]["num-gpus"] == "1"
    assert "nvidia.com/gpu" not in str(_cluster())


def test_the_cluster_grows_to_as_many_pods_as_the_workers_need() -> None:
    cluster = _cluster(workers__count=20)
    assert cluster["enableInTreeAutoscaling"] is True
    (group,) = cluster["workerGroupSpecs"]
    assert (group["minReplicas"], group["maxReplicas"]) == (0, 2)
    assert "workerGroupSpecs" not in _cluster(workers__count=2)


def test_all_pods_mount_the_claim_and_the_spec_is_where_the_command_looks_for_it() -> None:
    config, job = kuberay.render(order_of(workers__count=20), claim="mine", shared="/mnt/mine").value
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert {"name": "shared", "persistentVolumeClaim": {"claimName": "mine"}} in pod["volumes"]
        assert {"name": "shared", "mountPath": "/mnt/mine"} in pod["containers"][0]["volumeMounts"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    assert {"name": "spec", "configMap": {"name": config["metadata"]["name"]}} in head["volumes"]
    assert {"name": "spec", "mountPath": "/etc/pqsearch"} in head["containers"][0]["volumeMounts"]
    assert job["spec"]["entrypoint"] == "pqsearch run /etc/pqsearch/spec.toml"
    assert 'run_dir = "/mnt/mine/runs/small"' in config["data"]["spec.toml"]


def test_the_spec_in_the_config_map_is_a_spec(tmp_path: Path) -> None:
    config = kuberay.render(order_of(**GPUS)).value[0]
    path = tmp_path / "spec.toml"
    path.write_text(config["data"]["spec.toml"])
    assert load_spec(path) == order_of(**GPUS, study__run_dir="/pqsearch/runs/small").spec


def test_what_must_be_on_the_volume_is_said_above() -> None:
    text = kuberay.render(order_of(data__root="/pqsearch/images.tar.gz")).text
    assert "#   /pqsearch/images.tar.gz  (data.root)\n" in text


def test_a_note_cannot_end_its_comment() -> None:
    text = kuberay.render(order_of(data__root="/pqsearch/a\nkind: Evil")).text
    assert "\nkind: Evil" not in text.partition("apiVersion")[0]
    assert [document["kind"] for document in _documents(text)] == ["ConfigMap", "RayJob"]
