"""Holds the files for clusters against what their readers accept: `python -m tests.cluster.checks [--schemas FOLDER]`.

Ray's schema is inside the ray package, those of Kubernetes come with kubernetes-validate; FOLDER has KubeRay's own, as
`rayjob.schema.json` in JSON Schema, which are in no package.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.cluster.cases import CASES, ROOT

DOCKERFILE = ROOT / "Dockerfile"
#: Fields of a RayJob's own, each misspelt once: a check that lets everything pass would look the same.
MISSPELT = ("shutdownAfterJobFinishes:", "backoffLimit:", "maxReplicas:", "rayStartParams:", "mode:")


def ray_job_problems(job: dict[str, Any], schemas: Path) -> list[str]:
    """What KubeRay's schema has against a RayJob."""
    return _against(json.loads((schemas / "rayjob.schema.json").read_text()), job)


def kubernetes_problems(documents: list[dict[str, Any]]) -> list[str]:
    """What Kubernetes has against the objects of its own in there: ConfigMaps, and the pods of a RayJob."""
    problems = []
    for one in (found for document in documents for found in _of_kubernetes(document)):
        try:
            kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
        except kubernetes_validate.ValidationError as error:
            problems.append(f"{one['kind']}: {error}")
    return problems


def _of_kubernetes(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if document["kind"] != "RayJob":
        yield document
        return
    cluster = document["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", ())):
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **group["template"]}


def ray_up_problems(config: dict[str, Any]) -> list[str]:
    """What Ray's schema has against a file for `ray up`, and what its own reading of it has."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    found = find_spec("ray")
    assert found is not None and found.origin is not None
    schema = json.loads((Path(found.origin).parent / "autoscaler" / "ray-schema.json").read_text())
    if problems := _against(schema, config):
        return problems
    try:
        validate_config(prepare_config(copy.deepcopy(config)))
    except Exception as error:
        return [str(error)]
    return []


def script_problems(text: str) -> list[str]:
    """What bash has against a script."""
    return _lines(subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False))


def board_problems(text: str) -> list[str]:
    """What differs once Grafana's own model of a board has read it and written it again."""
    register_default_plugins()
    board = json.loads(text)
    again = json.loads(json.dumps(Dashboard.from_json(json.loads(text)), cls=JSONEncoder))
    return [*_differences(board, again, "board")]


def _differences(before: Any, after: Any, where: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            if key in before and key in after:
                yield from _differences(before[key], after[key], f"{where}.{key}")
            else:
                yield f"{where}.{key}: is {'lost' if key in before else 'added'}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(one, other, f"{where}[{place}]")
    elif before != after:
        yield f"{where}: {before!r} has become {after!r}"


def dockerfile_problems(path: Path = DOCKERFILE) -> list[str]:
    """What hadolint has against a Dockerfile."""
    command = [str(Path(sysconfig.get_path("scripts")) / "hadolint"), "--no-color", str(path)]
    return _lines(subprocess.run(command, text=True, capture_output=True, check=False))


def _lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    lines = (done.stdout + done.stderr).splitlines()
    return lines if done.returncode == 0 else lines or [f"ended with {done.returncode}"]


def _against(schema: dict[str, Any], value: Any) -> list[str]:
    errors = jsonschema.Draft7Validator(schema).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in errors]


def problems_of(text: str, target: str, schemas: Path | None) -> list[str]:
    """Everything there is against a rendered text."""
    if target == "slurm":
        return script_problems(text)
    if target == "grafana":
        return board_problems(text)
    documents = list(yaml.safe_load_all(text))
    if target == "autoscaler":
        return ray_up_problems(*documents)
    (job,) = (document for document in documents if document["kind"] == "RayJob")
    return kubernetes_problems(documents) + (ray_job_problems(job, schemas) if schemas else [])


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--schemas", type=Path, metavar="FOLDER", help="KubeRay's own schemas, too")
    schemas = options.parse_args().schemas
    found = {name: problems_of(case.rendered().text, case.target, schemas) for name, case in CASES.items()}
    found["Dockerfile"] = dockerfile_problems()
    if schemas:
        text = CASES["kuberay-gpus"].rendered().text
        for field in MISSPELT:
            if not problems_of(text.replace(field, f"x{field}"), "kuberay", schemas):
                found[f"kuberay, misspelt {field}"] = ["passes: these schemas do not check it"]
    for name, problems in found.items():
        print(f"{name}: {'; '.join(problems) or 'passes'}")
    print("RayJobs were held against", f"KubeRay's schema in {schemas}" if schemas else "Kubernetes only: no --schemas")
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
