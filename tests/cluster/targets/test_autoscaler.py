from __future__ import annotations

import shlex
from typing import Any

import pytest
import yaml

from cluster.targets import autoscaler
from pqsearch.errors import UserError
from tests.cluster.cases import CASES, CLOUD, GPUS, order_of
from tests.cluster.checks import ray_up_problems

RENDERED = [name for name, case in CASES.items() if case.target == "autoscaler"]


@pytest.mark.parametrize("name", RENDERED)
def test_ray_accepts_the_file(name: str) -> None:
    assert ray_up_problems(yaml.safe_load(CASES[name].rendered().text)) == []


@pytest.mark.parametrize(
    "field", ["cluster_name:", "max_workers:", "node_config:", "run_options:", "setup_commands:", "ssh_user:"]
)
def test_a_misspelt_field_is_refused(field: str) -> None:
    text = CASES["aws"].rendered().text
    misspelt = text.replace(field, f"x{field}")
    assert misspelt != text
    assert ray_up_problems(yaml.safe_load(misspelt))


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({"provider": "aws"}, ["--image: is needed", "--nfs: is needed, as 2 nodes share"]),
        ({"provider": "gcp", **CLOUD}, ["--project: is needed by gcp"]),
        ({"provider": "local"}, ["--head: is needed by local"]),
        ({"provider": "local", "head": "a", "workers": ["b", "a"]}, ["--workers: a is the head"]),
        (
            {"provider": "aws", "zone": "us-west-2a", **CLOUD},
            ["--zone: is for gcp, got 'us-west-2a' with --provider aws"],
        ),
        ({"provider": "local", "head": "a", "spot": False, "nfs": "h:/e"}, ["--nfs: is for aws and gcp, got 'h:/e'"]),
    ],
)
def test_what_a_provider_needs_or_has_no_use_for_is_said(options: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        autoscaler.render(order_of(workers__count=10), **options)
    assert len(caught.value.problems) == len(lines)
    for found, line in zip(caught.value.problems, lines, strict=True):
        assert found.startswith(line)


@pytest.mark.parametrize("provider", ["aws", "gcp"])
def test_gpus_need_an_image_with_drivers(provider: str) -> None:
    project = {"project": "lab"} if provider == "gcp" else {}
    with pytest.raises(UserError, match="--machine-image: is needed where workers have GPUs"):
        autoscaler.render(order_of(**GPUS), provider=provider, **CLOUD, **project)


@pytest.mark.parametrize(
    ("provider", "changes", "machine"),
    [
        ("aws", {"workers__count": 20}, "m6i.2xlarge"),
        ("aws", {"workers__count": 2, "workers__cpus": 8, "workers__gpus": 1}, "g5.2xlarge"),
        ("aws", {"workers__count": 2, "workers__cpus": 8, "workers__gpus": 4}, "g5.12xlarge"),
        ("gcp", {"workers__count": 1}, "n2-standard-2"),
        ("gcp", {"workers__count": 2, "workers__cpus": 8, "workers__gpus": 2}, "g2-standard-24"),
    ],
)
def test_the_smallest_machine_that_fits_is_taken(provider: str, changes: dict[str, Any], machine: str) -> None:
    options = {"machine_image": "image", **({"project": "lab"} if provider == "gcp" else {}), **CLOUD}
    (config,) = autoscaler.render(order_of(**changes), provider=provider, **options).value
    key = "InstanceType" if provider == "aws" else "machineType"
    assert {one["node_config"][key] for one in config["available_node_types"].values()} == {machine}


def test_a_node_larger_than_all_machines_is_refused() -> None:
    with pytest.raises(UserError, match="workers: 1 on a node need 400 cores and 0 GPUs"):
        autoscaler.render(order_of(workers__cpus=400), provider="aws", **CLOUD)


def test_workers_may_be_taken_back_and_the_head_may_not() -> None:
    for options in ({"provider": "aws"}, {"provider": "gcp", "project": "lab"}):
        (config,) = autoscaler.render(order_of(workers__count=20), spot=True, **options, **CLOUD).value
        types = {name: str(one["node_config"]) for name, one in config["available_node_types"].items()}
        assert "spot" in types["worker"] or "preemptible" in types["worker"]
        assert "spot" not in types["head"] and "preemptible" not in types["head"]


def test_the_command_that_is_said_survives_a_shell() -> None:
    order = order_of(
        source="it's; rm -rf ~.toml", overrides=("model.options={width=4}",), data__root="/pqsearch/images"
    )
    notes = autoscaler.render(order, provider="aws", **CLOUD).notes
    (line,) = (note for note in notes if "job submit" in note)
    words = shlex.split(line)
    assert words[words.index("--") + 1 :] == [
        "pqsearch", "run", "it's; rm -rf ~.toml", "--set", "model.options={width=4}",
        "--set", "data.root=/pqsearch/images", "--set", "study.run_dir=/pqsearch/runs/small",
    ]  # fmt: skip


def test_a_spec_that_the_job_would_not_have_with_it_is_refused() -> None:
    with pytest.raises(UserError, match=r"SPEC: /etc/spec.toml is not below"):
        autoscaler.render(order_of(source="/etc/spec.toml"), provider="aws", **CLOUD)
