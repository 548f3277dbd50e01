"""`pqsearch ptq`: a spec's search without any training of plans, for those who have no time for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pqsearch.errors import UserError
from pqsearch.spec import Spec, load_spec
from pqsearch.spec_network import ReconstructionSpec
from pqsearch.spec_search import RungSpec

#: What a run directory that is not the spec's own is called behind the spec's.
SUFFIX = "-ptq"


def post_training(spec: Spec) -> Spec:
    """The spec whose plans are scored after calibration alone, and whose winner is reconstructed instead of fine-tuned.

    Plans are ranked by their loss unless `study.objectives` is given: after calibration alone they differ by less than accuracy tells.
    Nothing is pruned unless `space.prune_rate` is given, the weights are taken as they are unless `baseline.epochs` is. Where this
    is another run than the spec's own, its run directory has another name. Raises `UserError` where there are no weights.
    """
    trained = spec.baseline.epochs if "epochs" in spec.baseline.model_fields_set else 0
    if spec.model.weights is None and not trained:
        raise UserError(
            "model.weights: is required to quantise without training, got nothing; name a state dict, or train one "
            "with baseline.epochs"
        )
    rungs = [rung for rung in spec.rungs if rung.kind == "calibrate"][:1] or [RungSpec(kind="calibrate")]
    rates = spec.space.prune_rate if "prune_rate" in spec.space.model_fields_set else [0.0]
    objectives = spec.study.objectives if "objectives" in spec.study.model_fields_set else ["loss"]
    changed = spec.model_copy(
        update={
            "study": spec.study.model_copy(update={"objectives": objectives}),
            "rungs": rungs,
            "halving": None,
            "space": spec.space.model_copy(update={"prune_rate": rates}),
            "baseline": spec.baseline.model_copy(update={"epochs": trained}),
            "finetune": spec.finetune.model_copy(update={"epochs": 0}),
            "reconstruction": spec.reconstruction or ReconstructionSpec(),
        }
    )
    if changed == spec:
        return spec
    study = changed.study.model_copy(update={"run_dir": f"{spec.run_dir}{SUFFIX}"})
    return changed.model_copy(update={"study": study})


def ptq(spec: Spec | str | Path, overrides: Sequence[str] = (), *, verbose: bool = False) -> dict[str, Any]:
    """Search bits for a trained network without training: the whole chain of `post_training`; returns the content of `summary.json`.

    Run again it continues where it was, or returns at once when it is finished. Raises `UserError`.
    """
    from pqsearch.pipeline import run

    return run(post_training(spec if isinstance(spec, Spec) else load_spec(spec, overrides)), verbose=verbose)
