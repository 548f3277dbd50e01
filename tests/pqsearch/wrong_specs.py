"""Changes to the smallest spec that are mistakes, each with the whole answer."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

from pqsearch import rooms

SMALLEST = """
[study]
name = "small"
[data]
name = "digits"
[model]
name = "digits_net"
"""


def smallest_values(**changes: Any) -> dict[str, Any]:
    """The smallest spec; `section__key` sets a key, `section` replaces a section, None takes it out."""
    values = tomllib.loads(SMALLEST)
    for path, value in changes.items():
        section, _, key = path.partition("__")
        if key:
            values.setdefault(section, {})[key] = value
        elif value is None:
            del values[section]
        else:
            values[section] = value
    return values


def _choices(room: str) -> str:
    return ", ".join(rooms.names(room))


SECTIONS = (
    "study, data, model, task, baseline, space, budgets, latency, target, sensitivity, algorithm, rungs, halving, quantizer, "
    "calibration, pruning, reconstruction, finetune, export, fixed_point, workers"
)
EXAMPLES = str(Path(__file__).resolve().parents[2] / "examples")
SAMPLERS = "GPSampler, NSGAIIISampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler"
RUNG_KEYS = "kind, images, steps, lr, batch_size, amp, max_seconds"
NAME_RULE = "may hold letters, digits, '.', '_' and '-' and starts with a letter or digit"
#: What is changed in the smallest spec, and the whole answer.
WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown section": (
        {"serach": {}}, [f"serach: unknown key, choose from {SECTIONS}"],
    ),
    "section nearly right": (
        {"workerss": {}}, [f"workerss: unknown key, did you mean 'workers'?, choose from {SECTIONS}"],
    ),
    "unknown key": (
        {"model__nam": "x"}, ["model.nam: unknown key, did you mean 'name'?, choose from name, weights, options, output, folder"],
    ),
    "unknown key of a rung": (
        {"rungs": [{"kind": "calibrate", "step": 3}]},
        [f"rungs[0].step: unknown key, did you mean 'steps'?, choose from {RUNG_KEYS}"],
    ),
    "key of a room's section misspelt": ({"quantizer": {"nam": "lsq"}}, ["quantizer.nam: unknown key, did you mean 'name'?"]),
    "missing section": (
        {"model": None}, ["model: is required, got nothing"],
    ),
    "missing key": (
        {"data": {}},
        [
            "data.name: is required (Dataset: a file in `trainers/datasets/`, `torchvision:<name>`, or your own "
            "`module:function`.), got nothing"
        ],
    ),
    "section that is a list": ({"study": [{"name": "a"}]}, ["study: must be a table (a [section]), got [{'name': 'a'}]"]),
    "section that is a number": ({"workers": 3}, ["workers: must be a table (a [section]), got 3"]),
    "one bit in fixed point": (
        {"space__weight_bits": [1, 4], "fixed_point__plan_bits": True},
        [
            "fixed_point.plan_bits: space.weight_bits has 1, a step that is a power of two has 2 to 16 bits, got true; "
            "leave it out"
        ],
    ),
    "equalised around batch norm": (
        {"fixed_point__equalize": True, "fixed_point__merge_batch_norm": False},
        [
            "fixed_point.equalize: scales layers that batch norm is merged into, fixed_point.merge_batch_norm is false, got true; "
            "leave one of them out"
        ],
    ),
    "name with a slash": ({"study__name": "a/b"}, [f"study.name: {NAME_RULE}, got 'a/b'"]),
    "name that climbs": ({"study__name": ".."}, [f"study.name: {NAME_RULE}, got '..'"]),
    "name with a line break": ({"study__name": "a\n"}, [f"study.name: {NAME_RULE}, got 'a\\n'"]),
    "name that is a number": ({"study__name": 7}, ["study.name: must be a text, got 7"]),
    "seed below": ({"study__seed": -1}, ["study.seed: must be in [0, 2147483647], got -1"]),
    "seed above": ({"study__seed": 2**31}, ["study.seed: must be in [0, 2147483647], got 2147483648"]),
    "whole number with a point": ({"study__evaluations": 10.0}, ["study.evaluations: must be a whole number, got 10.0"]),
    "whole number that is true": ({"study__evaluations": True}, ["study.evaluations: must be a whole number, got True"]),
    "hours of nothing": ({"study__hours": 0}, ["study.hours: must be above 0, got 0"]),
    "hours without end": ({"study__hours": math.inf}, ["study.hours: must be a finite number, got inf"]),
    "not a choice": ({"sensitivity__source": "magic"}, ["sensitivity.source: must be 'gradients', 'table' or 'none', got 'magic'"]),
    "unknown score": ({"study__objectives": ["f1"]}, ["study.objectives[0]: must be 'accuracy' or 'loss', got 'f1'"]),
    "unknown objective": (
        {"study__objectives": ["loss", "flop"], "algorithm__name": "random_search"},
        [
            f"study.objectives[1]: unknown cost 'flop', did you mean 'flops'?, choose from {_choices('budgets')}"
        ],
    ),
    "repeated objective": (
        {"study__objectives": ["loss", "flops", "flops"], "algorithm__name": "random_search"},
        ["study.objectives[2]: 'flops' is there already; name each objective once"],
    ),
    "patience of nothing": ({"study__patience": 0}, ["study.patience: must be at least 1, got 0"]),
    "patience with a target": (
        {"study__patience": 9, "target": {"max_drop": 1.0, "minimize": "flops"}},
        ["study.patience: a [target] says itself when it is settled, got 9; leave it out"],
    ),
    "halving that sends on more than there are": (
        {"halving": {"factor": 0.5}, "rungs": [{"kind": "calibrate"}] * 2},
        ["halving.factor: must be in [1, 100], got 0.5"],
    ),
    "halving of an unknown kind": (
        {"halving": {"kind": "hyperband"}, "rungs": [{"kind": "calibrate"}] * 2},
        ["halving.kind: must be 'stopping' or 'promotion', got 'hyperband'"],
    ),
    "halving with one rung": (
        {"halving": {}, "rungs": [{"kind": "calibrate"}]},
        ["halving: decides who goes on to the next rung, but there is one rung; add a [[rungs]] before it, or leave it out"],
    ),
    "promotion by several objectives": (
        {"halving": {"kind": "promotion"}, "rungs": [{"kind": "calibrate"}] * 2, "study__objectives": ["loss", "flops"],
         "algorithm__name": "random_search"},
        ["halving.kind: 'promotion' ranks by one objective, study.objectives has 2; use 'stopping'"],
    ),
    "time limit of a rung": (
        {"rungs": [{"kind": "calibrate", "max_seconds": 0}]}, ["rungs[0].max_seconds: must be above 0, got 0"],
    ),
    "target without a cost": (
        {"target": {"max_drop": 1.0}},
        ["target.minimize: is required (What is made small: a file in `search_spaces/budgets/`.), got nothing"],
    ),
    "target of nothing known": (
        {"target": {"max_drop": 1.0, "minimize": "size"}},
        [f"target.minimize: unknown cost 'size', choose from {_choices('budgets')}"],
    ),
    "target below nothing": (
        {"target": {"max_drop": -1.0, "minimize": "flops"}}, ["target.max_drop: must be in [0, 100], got -1.0"],
    ),
    "target with several objectives, in generations, with few evaluations": (
        {
            "target": {"max_drop": 1.0, "minimize": "flops"},
            "study__objectives": ["loss", "flops"], "study__synchronous": True, "study__evaluations": 10,
        },
        [
            "target: is for one objective, study.objectives has 2; leave the costs out there",
            "target: moves the budget as results arrive, so study.synchronous must be false, got true",
            "study.evaluations: must be at least 24 with a [target], got 10",
        ],
    ),
    "loss that names no function": (
        {"task": {"loss": "focal", "metric": "mine:"}},
        ["task.loss: must be module:function, got 'focal'", "task.metric: must be module:function, got 'mine:'"],
    ),
    "arguments of no loss": (
        {"task": {"loss_options": {"gamma": 2.0}}},
        ["task.loss_options: are arguments of task.loss, which is not set; name your function there"],
    ),
    "smoothed labels with a loss of one's own": (
        {"task": {"loss": "mine:focal"}, "finetune__label_smoothing": 0.1},
        ["finetune.label_smoothing: is a part of cross-entropy, so must be 0 with a task.loss, got 0.1"],
    ),
    "unknown key of the task": (
        {"task": {"los": "mine:focal"}},
        ["task.los: unknown key, did you mean 'loss'?, choose from loss, loss_options, metric, metric_options, folder"],
    ),
    "output that is neither a name nor an index": (
        {"model__output": 1.5}, ["model.output: must be a name, or an index from 0, got 1.5"],
    ),
    "output before the first": ({"model__output": -1}, ["model.output: must be a name, or an index from 0, got -1"]),
    "plans that are no list": ({"study__plans": "mine.json"}, ["study.plans: must be a list, got 'mine.json'"]),
    "no objective": ({"study__objectives": []}, ["study.objectives: must not be empty, got []"]),
    "population too large": (
        {"study__evaluations": 20, "algorithm__name": "genetic", "algorithm__population": 21},
        ["algorithm.population: must be at most study.evaluations, which is 20, got 21"],
    ),
    "population of a sampler too large": (
        {"study__evaluations": 160, "algorithm": {"name": "optuna:NSGAIISampler", "population_size": 5000}},
        ["algorithm.population_size: must be at most study.evaluations, which is 160, got 5000"],
    ),
    "levels of a pattern": (
        {"space__layers": {"layer1.*": {"weight_bits": [4, 9], "bits": [2], "act_bits": []}}},
        [
            "space.layers.layer1.*.weight_bits[1]: must be 1 to 8, or 32 for float, got 9",
            "space.layers.layer1.*.bits: unknown knob, choose from prune_rate, weight_bits, act_bits, sparsity",
            "space.layers.layer1.*.act_bits: must not be empty, got []",
        ],
    ),
    "list entry not a choice": (
        {"data__augment": ["crop", "rot"]},
        [
            "data.augment[1]: must be 'crop', 'flip', 'erase', 'auto_augment', 'auto_augment_imagenet', 'rand_augment' "
            "or 'trivial_augment', got 'rot'"
        ],
    ),
    "list that is none": ({"export__formats": "torch"}, ["export.formats: must be a list, got 'torch'"]),
    "empty list": ({"space__act_bits": []}, ["space.act_bits: must not be empty, got []"]),
    "truth in words": ({"baseline__amp": "yes"}, ["baseline.amp: must be true or false, got 'yes'"]),
    "learning rate of nan": ({"baseline__lr": math.nan}, ["baseline.lr: must be a finite number, got nan"]),
    "half-open range": ({"finetune__label_smoothing": 1.0}, ["finetune.label_smoothing: must be in [0, 1), got 1.0"]),
    "unknown dataset": (
        {"data__name": "digit"},
        [
            f"data.name: unknown name 'digit', did you mean 'digits'?, choose from {_choices('datasets')}, "
            "torchvision:<name> or your own module:function"
        ],
    ),
    "option out of range": ({"data__test_images": 3}, ["data.test_images: must be from 50 to 1500, got 3"]),
    "unknown model": (
        {"model__name": "cifar_resnets"},
        [f"model.name: unknown name 'cifar_resnets', did you mean 'cifar_resnet'?, choose from {_choices('models')}, "
         "torchvision:<name>, timm:<name> or your own module:function"],
    ),
    "unknown algorithm": (
        {"algorithm": {"name": "tpee"}},
        [f"algorithm.name: unknown name 'tpee', did you mean 'tpe'?, choose from {_choices('algorithms')}, "
         "optuna:<Sampler> or your own module:Class"],
    ),
    "sampler that optuna lacks": (
        {"algorithm": {"name": "optuna:TPESampling"}},
        [f"algorithm.name: optuna:TPESampling cannot be used, did you mean 'TPESampler' or 'GPSampler'?, choose from {SAMPLERS}"],
    ),
    "sampler that cannot be replayed": (
        {"algorithm": {"name": "optuna:CmaEsSampler"}},
        ["algorithm.name: optuna:CmaEsSampler cannot be used (it keeps its state as a pickle, which no journal of ours "
         f"holds), choose from {SAMPLERS}"],
    ),
    "sampler's arguments": (
        {"algorithm": {"name": "optuna:QMCSampler", "kind": 3}},
        ["algorithm.kind: unknown argument of 'QMCSampler', choose from qmc_type, scramble, independent_sampler, "
         "warn_asynchronous_seeding, warn_independent_sampling"],
    ),
    "sampler's values": (
        {"algorithm": {"name": "optuna:NSGAIISampler", "population_size": 1}},
        ["algorithm.name: optuna:NSGAIISampler cannot be made with {'population_size': 1}: ValueError: "
         "`population_size` must be greater than or equal to 2."],
    ),
    "searcher that cannot be replayed": (
        {"algorithm": {"name": "tune:HyperOptSearch"}},
        ["algorithm.name: tune:HyperOptSearch cannot be used: it takes results of its own suggestions only and keeps them in "
         "a pickle, which no journal of ours holds; use tpe"],
    ),
    "searcher that tune lacks": (
        {"algorithm": {"name": "tune:OptunaSearcher"}},
        ["algorithm.name: tune:OptunaSearcher is no searcher known here, did you mean 'OptunaSearch'?, choose from OptunaSearch"],
    ),
    "searcher's arguments": (
        {"algorithm": {"name": "tune:OptunaSearch", "sampler": "GPSampler"}},
        ["algorithm.sampler: unknown argument of 'OptunaSearch', it has none here; optuna:<Sampler> names a sampler with its own"],
    ),
    "own algorithm of no module": (
        {"algorithm": {"name": "no_such_module:Mine", "folder": "/nowhere"}},
        ["algorithm.name: there is no module 'no_such_module' in /nowhere; put the file beside the spec or set "
         "algorithm.folder"],
    ),
    "own algorithm of another name": (
        {"algorithm": {"name": "hill_climber:HillClimer", "folder": EXAMPLES}},
        ["algorithm.name: hill_climber has no function or class 'HillClimer', did you mean 'HillClimber'?"],
    ),
    "own algorithm's options": (
        {"algorithm": {"name": "hill_climber:HillClimber", "folder": EXAMPLES, "step": "far", "zeal": 2}},
        ["algorithm.step: must be a whole number, got 'far'",
         "algorithm.zeal: unknown option of 'hill_climber:HillClimber', choose from name, folder, step"],
    ),
    "option of another type": (
        {"algorithm": {"name": "tpe", "startup": 2.5}}, ["algorithm.startup: must be a whole number, got 2.5"],
    ),
    "truth of an option in words": (
        {"quantizer__per_channel": "no"}, ["quantizer.per_channel: must be true or false, got 'no'"],
    ),
    "truth of an option as a number": (
        {"quantizer__per_channel": 1}, ["quantizer.per_channel: must be true or false, got 1"],
    ),
    "option that is a list of numbers": (
        {"data": {"name": "cifar10", "mean": "grey"}}, ["data.mean: must be a list of numbers, got 'grey'"],
    ),
    "importance under another name": (
        {"pruning": {"name": "l1"}}, ["pruning.name: unknown option of 'l1', choose from importance, gradient_images"],
    ),
    "unknown exporter": (
        {"export__formats": ["torch_weights", "tflite"]},
        [f"export.formats[1]: unknown name 'tflite', choose from {_choices('exporters')}"],
    ),
    "budget above its range": ({"budgets": {"flops": 1.5}}, ["budgets.flops: must be in (0, 1], got 1.5"]),
    "budget of nothing": ({"budgets": {"params": 0}}, ["budgets.params: must be in (0, 1], got 0"]),
    "budget without end": ({"budgets": {"size_bytes": math.inf}}, ["budgets.size_bytes: must be a finite number, got inf"]),
    "budget below its range": ({"budgets": {"weight_bits": 0.5}}, ["budgets.weight_bits: must be in [1, 32], got 0.5"]),
    "budget of text": ({"budgets": {"flops": "half"}}, ["budgets.flops: must be a number, got 'half'"]),
    "unknown budget": (
        {"budgets": {"flop": 0.5}},
        [f"budgets.flop: unknown name 'flop', did you mean 'flops'?, choose from {_choices('budgets')}"],
    ),
    "everything pruned": ({"space__prune_rate": [0.0, 1.0]}, ["space.prune_rate[1]: must be in [0, 1), got 1.0"]),
    "a layer of zeros": ({"space__sparsity": [0.0, 1.0]}, ["space.sparsity[1]: must be in [0, 1), got 1.0"]),
    "a pattern that there is not": (
        {"space__sparsity_pattern": "4:2"},
        ['space.sparsity_pattern: must be "layer", "filter" or N:M as "2:4" with M one of 2, 4, 8, 16, 32 and N below it, got \'4:2\''],
    ),
    "a share that a pattern does not have": (
        {"space__sparsity_pattern": "2:4", "space__sparsity": [0.0, 0.75], "space__pin": {"conv1": {"sparsity": 0.25}},
         "space__layers": {"layer1.*": {"sparsity": [0.0, 0.125]}}},
        ["space.sparsity[1]: must be 0 or 0.5 with the pattern 2:4, got 0.75",
         "space.layers.layer1.*.sparsity[1]: must be 0 or 0.5 with the pattern 2:4, got 0.125",
         "space.pin.conv1.sparsity: must be 0 or 0.5 with the pattern 2:4, got 0.25"],
    ),
    "a tie of nothing": (
        {"space__tie": [["conv1", "conv2"], []]},
        ["space.tie[1]: must not be empty, got []; name the layers whose bits move together"],
    ),
    "a tie that is no list of lists": ({"space__tie": ["conv1"]}, ["space.tie[0]: must be a list, got 'conv1'"]),
    "bits that the quantiser does not have": (
        {"quantizer": {"name": "ristretto"}, "space__weight_bits": [1, 12], "space__first_last_bits": 17},
        ["space.weight_bits[0]: must be 2 to 16, or 32 for float, got 1",
         "space.first_last_bits: must be 2 to 16, 32 for float, or 0 to search them, got 17"],
    ),
    "bits between": ({"space__act_bits": [4, 9, 32]}, ["space.act_bits[1]: must be 1 to 8, or 32 for float, got 9"]),
    "bits of the ends": (
        {"space__first_last_bits": 9},
        ["space.first_last_bits: must be 1 to 8, 32 for float, or 0 to search them, got 9"],
    ),
    "bits of the ends beyond float": ({"space__first_last_bits": 33}, ["space.first_last_bits: must be in [0, 32], got 33"]),
    "pin of an unknown knob": (
        {"space__pin": {"conv1": {"bits": 8}}},
        ["space.pin.conv1.bits: unknown knob, choose from prune_rate, weight_bits, act_bits, sparsity"],
    ),
    "pin between levels": (
        {"space__pin": {"conv1": {"weight_bits": 4.5}}},
        ["space.pin.conv1.weight_bits: must be 1 to 8, or 32 for float, got 4.5"],
    ),
    "pin without end": (
        {"space__pin": {"conv1": {"weight_bits": math.inf}}},
        ["space.pin.conv1.weight_bits: must be a finite number, got inf"],
    ),
    "pin of no number": (
        {"space__pin": {"conv1": {"act_bits": math.nan}}}, ["space.pin.conv1.act_bits: must be a finite number, got nan"],
    ),
    "pin without a knob": ({"space__pin": {"conv1": 8}}, ["space.pin.conv1: must be a table, got 8"]),
    "pin of a name with dots": (
        tomllib.loads("[space.pin.layer1.conv1]\nweight_bits = 8"),
        ["space.pin.layer1.conv1: must be a number, got {'weight_bits': 8}; "
         'quote names with dots, as in [space.pin."layer1.0.conv1"]'],
    ),
    "unknown rung": (
        {"rungs": [{"kind": "train"}]},
        ["rungs[0].kind: must be 'calibrate', 'few_shot' or 'fine_tune', got 'train'"],
    ),
    "rungs as one table": ({"rungs": {"kind": "calibrate"}}, ["rungs: must be a list, got {'kind': 'calibrate'}"]),
    "no rungs": ({"rungs": []}, ["rungs: must not be empty, got []"]),
    "training without steps": (
        {"rungs": [{"kind": "calibrate"}, {"kind": "few_shot"}]},
        ["rungs[1].steps: must be at least 1 when kind is 'few_shot', got 0"],
    ),
    "calibration with steps": (
        {"rungs": [{"kind": "calibrate", "steps": 3}]}, ["rungs[0].steps: must be 0 when kind is 'calibrate', got 3"],
    ),
    "batches of one": (
        {"rungs": [{"kind": "few_shot", "steps": 3, "batch_size": 1}]}, ["rungs[0].batch_size: must be at least 2, got 1"],
    ),
    "no workers": ({"workers__count": 0}, ["workers.count: must be at least 1, got 0"]),
    "a resource of Ray's own": (
        {"workers__resources": {"GPU": 1}},
        ["workers.resources.GPU: is one of Ray's own; workers.cpus and workers.gpus say what a worker takes"],
    ),
    "one and a half of a resource": (
        {"workers__resources": {"pool": 1.5, "other": 1}},
        ["workers.resources.pool: must be a share above 0 or a whole number, got 1.5"],
    ),
    "price below nothing": ({"workers__price": -0.1}, ["workers.price: must be at least 0, got -0.1"]),
    "price with a currency": ({"workers__price": "2 EUR"}, ["workers.price: must be a number, got '2 EUR'"]),
    "negative GPUs": ({"workers__gpus": -0.5}, ["workers.gpus: must be at least 0, got -0.5"]),
}  # fmt: skip
