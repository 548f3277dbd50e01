from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.cluster.cases import ROOT
from tests.cluster.checks import DOCKERFILE, dockerfile_problems


def test_hadolint_accepts_the_dockerfile() -> None:
    assert dockerfile_problems() == []


def test_a_misspelt_instruction_is_refused(tmp_path: Path) -> None:
    misspelt = tmp_path / "Dockerfile"
    misspelt.write_text(DOCKERFILE.read_text().replace("COPY", "COPPY"))
    assert dockerfile_problems(misspelt)


def test_the_image_has_a_ray_that_pqsearch_takes() -> None:
    (line,) = (line for line in DOCKERFILE.read_text().splitlines() if line.startswith("ARG RAY_VERSION="))
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (least,) = (text.partition(">=")[2] for text in dependencies if text.startswith("ray["))
    version = [int(part) for part in line.partition("=")[2].split(".")]
    assert version >= [int(part) for part in least.split(".")]


def test_what_the_image_is_sent_is_enough_to_install(tmp_path: Path) -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    for name in (line[1:] for line in lines if line.startswith("!")):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        tmp_path / "wheel",
        tmp_path,
    ]
    subprocess.run(command, check=True, capture_output=True)
    assert len(list((tmp_path / "wheel").iterdir())) == 1
