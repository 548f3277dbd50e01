from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pqsearch import rooms
from pqsearch.cli import main
from tests.conftest import write_spec


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    write_spec(tmp_path, study__run_dir="runs/small")
    monkeypatch.chdir(tmp_path)
    return "spec.toml"


def test_standard_output_is_the_file_and_nothing_else(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "kuberay", spec, "--memory", "6", "--set", "workers.count=20"]) == 0
    said = capsys.readouterr()
    _, job = yaml.safe_load_all(said.out)
    assert job["kind"] == "RayJob"
    assert job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplicas"] == 2
    assert "memory: 50Gi" in said.out
    assert said.err == ""


def test_options_may_be_repeated_where_they_are_lists(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    hosts = ["--head", "a", "--workers", "b", "--workers", "c"]
    assert main(["cluster", "autoscaler", spec, "--provider", "local", *hosts]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["provider"]["worker_ips"] == ["b", "c"]


def test_a_spec_is_named_as_the_job_will_find_it(
    spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["cluster", "slurm", str(tmp_path / spec)]) == 0
    assert "command=(pqsearch run spec.toml)\n" in capsys.readouterr().out
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["cluster", "slurm", str(tmp_path / spec)]) == 0
    assert f"command=(pqsearch run {tmp_path}/spec.toml)\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["kuberay", "--memory", "much"], "--memory: must be a whole number, got 'much'"),
        (["kuberay", "--retries", "-1"], "--retries: must be from 0 to 100, got '-1'"),
        (["kuberay", "--auth", "none"], "--auth: must be one of disabled, token, got 'none'"),
        (["kuberay", "--namespace", "No"], "--namespace: must be a Kubernetes name (a-z, 0-9 and -, at most 63), got 'No'"),
        (["slurm", "--time", "soon"], "--time: must be a time as Slurm writes it, as in 12:00:00 or 2-00:00:00, got 'soon'"),
        (["autoscaler"], "--provider: is required (Who has the machines; `local`: you have), got nothing, choose from aws, gcp, local"),
        (["autoscaler", "--provider", "azure"], "--provider: must be one of aws, gcp, local, got 'azure'"),
        (["kuberay", "--set", "study.name='../x'"], "study.name: may hold letters, digits, '.', '_' and '-' and starts"),
        (["kuberay", "--set", "study.run_dir='../x'"], "study.run_dir: ../x is not seen by the nodes, which share /pqsearch; "),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(
    spec: str, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target, *options = arguments
    assert main(["cluster", target, spec, *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (found,) = said.err.splitlines()
    assert found.startswith(line)


@pytest.mark.parametrize("target", rooms.names("clusters"))
def test_every_target_has_help_with_an_example_and_the_meaning_of_its_options(
    target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["cluster", target, "--help"])
    text = capsys.readouterr().out
    assert f"example: pqsearch cluster {target} " in text
    for option in rooms.signature("clusters", target):
        assert f"--{option.name.replace('_', '-')}" in text
