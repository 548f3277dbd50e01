"""The sections about data, network, training, and how plans are applied."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from pqsearch.spec_section import RoomSection, Section

#: How names begin that are looked up in these libraries.
TORCHVISION, TIMM = "torchvision:", "timm:"


def _name_or_index(value: Any) -> Any:
    if value is None or isinstance(value, str) or (type(value) is int and value >= 0):
        return value
    raise PydanticCustomError("output", "a name or an index")


class DataSpec(RoomSection):
    """The images. Further keys are the dataset's own options."""

    name: str = Field(
        description="Dataset: a file in `trainers/datasets/`, `torchvision:<name>`, or your own `module:function`."
    )
    folder: str | None = Field(
        None, description="Where `module:function` is found; the spec's own folder unless given."
    )
    root: str | None = Field(None, description="Folder or archive of the data, where the dataset needs one.")
    score_images: int = Field(
        1000, ge=1, description="Training images, stratified, kept out of all training, that score plans."
    )
    select_images: int = Field(
        1000, ge=1, description="As many others, also kept out, that pick the fine-tune's checkpoint."
    )
    validation: str | None = Field(
        None,
        description="A folder `<class>/<image>` of one's own instead of slices of the training data: halved, one half scores, one selects.",
    )
    augment: list[
        Literal["crop", "flip", "erase", "auto_augment", "auto_augment_imagenet", "rand_augment", "trivial_augment"]
    ] = Field(
        ["crop", "flip"],
        description="Augmentation while training: shifts by an eighth, mirror images, erased rectangles, and torchvision's policies.",
    )
    cache: str | None = Field(None, description="Folder of decoded images; the user's cache folder unless given.")


class ModelSpec(Section):
    """The network and its trained weights."""

    name: str = Field(
        description="A file in `trainers/models/`, `torchvision:<name>`, `timm:<name>`, or your own `module:function`."
    )
    weights: str | None = Field(
        None,
        description="State dict to start from, or torchvision's as `torchvision:IMAGENET1K_V1`; trained here from scratch if not given.",
    )
    options: dict[str, Any] = Field({}, description="Arguments of the model.")
    output: Annotated[str | int | None, BeforeValidator(_name_or_index)] = Field(
        None,
        description="Which output counts where the model returns several: a name, or an index from 0. The others are left out.",
    )
    folder: str | None = Field(
        None, description="Where `module:function` is found; the spec's own folder unless given."
    )


class TeacherSpec(ModelSpec):
    """Another network than the float baseline to learn from. It needs `weights`."""


class TaskSpec(Section):
    """What is learned and what counts, in all training and wherever plans are scored; classification unless given."""

    loss: str | None = Field(
        None,
        description="Your own `module:function` of outputs and labels, the mean over the batch; cross-entropy unless given.",
    )
    loss_options: dict[str, Any] = Field({}, description="Arguments of the loss by name.")
    metric: str | None = Field(
        None,
        description="Your own `module:function`: a score in [0, 1] of each image; accuracies are its mean. 1 where right unless given.",
    )
    metric_options: dict[str, Any] = Field({}, description="Arguments of the metric by name.")
    folder: str | None = Field(
        None, description="Where `module:function` is found; the spec's own folder unless given."
    )


class TrainSpec(Section):
    """What the baseline and the full fine-tune have in common."""

    epochs: int = Field(10, ge=0, description="Passes over the training images.")
    lr: float = Field(0.05, gt=0, description="Peak learning rate.")
    batch_size: int = Field(128, ge=2, description="Images a step, of all processes together.")
    workers: int = Field(
        1,
        ge=1,
        description="Processes that share each batch, every one with the CPUs and GPUs that `[workers]` gives a worker.",
    )
    sync_batch_norm: bool = Field(
        False, description="Batch norm over the images of all `workers`; torch has it on GPUs only."
    )
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="SGD with Nesterov momentum 0.9, or AdamW.")
    weight_decay: float = Field(5e-4, ge=0, description="Not applied to batch norm, biases and quantiser steps.")
    schedule: Literal["cosine", "step", "one_cycle"] = Field(
        "cosine",
        description="The learning rate by step: `cosine` to zero; `step`, a tenth of it from each milestone on; `one_cycle`, up and down.",
    )
    milestones: list[float] = Field(
        [0.5, 0.75], description="Where the schedule `step` goes down, as shares of the whole training."
    )
    warmup_epochs: float = Field(1.0, ge=0, description="Linear warm-up before `cosine` and `step`.")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target spread over all classes.")
    mixup: float = Field(
        0.0, ge=0, description="Pairs of images are added, in shares from Beta(mixup, mixup); 0 is off."
    )
    cutmix: float = Field(
        0.0,
        ge=0,
        description="A rectangle of one image is pasted into another; with `mixup` each batch gets one of them.",
    )
    ema: float = Field(
        0.0, ge=0, lt=1, description="How much of the averaged weights each step keeps (0.999); 0 averages nothing."
    )
    clip: float = Field(0.0, ge=0, description="The longest gradient, by its Euclidean norm; 0 is any.")
    amp: bool = Field(
        True, description="Mixed precision: float16 on GPUs, bfloat16 on CPUs that compute in it. Scores are float32."
    )
    compile: bool = Field(
        False, description="`torch.compile` for training: minutes at first, then faster where it wins."
    )


class BaselineSpec(TrainSpec):
    """Training of the float network; with `model.weights` a short adaptation, with 0 epochs none."""


class FinetuneSpec(TrainSpec):
    """The full fine-tune of the plans that came out best, of the uniform plans and of the float baseline."""

    distillation: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the loss taken from a teacher's outputs: the float baseline's, or `teacher`'s.",
    )
    teacher: TeacherSpec | None = Field(None, description="A network to learn from, with the keys of `[model]`.")
    temperature: float = Field(2.0, gt=0, description="Temperature of the distillation.")
    feature_distillation: float = Field(
        0.0,
        ge=0,
        description="Weight of attention transfer, added to the loss: maps of `feature_layers` beside the teacher's.",
    )
    feature_layers: list[str] = Field(
        [],
        description='Convolutions that are compared, by name or pattern (`"layer*.2.conv2"`); the teacher has them too.',
    )
    quantizer_lr: float = Field(
        0.1, gt=0, le=1, description="Learning rate of the quantiser steps, as a share of `lr`."
    )
    freeze_batch_norm: bool = Field(
        False,
        description="Batch norm keeps the statistics of the calibration; its scales and shifts are still trained.",
    )
    top_k: int = Field(1, ge=1, description="How many of the best plans get it; the held-out slice picks one.")
    compare: bool = Field(
        True, description="The same fine-tune for the best uniform plan, its filled copy and the float baseline."
    )


class QuantizerSpec(RoomSection):
    """The quantiser. Further keys are its own options."""

    name: str = Field("lsq", description="A file in `trainers/quantizers/`.")


class CalibrationSpec(RoomSection):
    """How the quantisers' steps are set from images, before anything is trained. Further keys are the calibrator's own options."""

    calibrator: str = Field("mse", description="A file in `trainers/calibrators/`.")


class FixedPointSpec(Section):
    """The winner once more in dynamic fixed point, for hardware without float: integers and shifts, written to `fixed_point/`."""

    weight_bits: int = Field(8, ge=2, le=16, description="Bits of the weights.")
    act_bits: int = Field(8, ge=2, le=16, description="Bits of the layers' inputs.")
    plan_bits: bool = Field(
        False,
        description="Each layer has its bits of the plan instead; the two above are for layers that are float there.",
    )
    bias_bits: int = Field(16, ge=2, le=16, description="Bits of the biases.")
    output_bits: int | None = Field(
        16,
        ge=2,
        le=16,
        description="Bits that each layer's sums are rounded to before anything else is done with them.",
    )
    merge_batch_norm: bool = Field(
        True,
        description="Batch norm goes into the layers beside it. Without that it is measured anew behind the grids, and there are no "
        "integer files.",
    )
    equalize: bool = Field(
        False,
        description="Scale the channels between two layers so that both have weights of like size, before anything is rounded; the "
        "ceilings of ReLU6 are scaled with them. Needs `merge_batch_norm`.",
    )
    correct_bias: bool = Field(
        False,
        description="Take from each layer's bias what rounding its inputs and weights adds to its mean outputs. For merged batch norm: "
        "one that stays is measured anew behind the grids, which takes the same back, and both together do harm.",
    )
    saturate: bool = Field(
        True, description="Clip what is far out where the squared error is then smaller, or nothing at all."
    )
    criterion: Literal["error", "loss"] = Field(
        "error", description="Where the point stands: by the squared error of each tensor, or tried by the task's loss."
    )
    images: int = Field(128, ge=1, description="Training images, as they are, that the grids are set from.")
    epochs: int = Field(
        0,
        ge=0,
        description="Passes over the training images that train the weights on these grids, straight-through; all else as in `[finetune]`, "
        "but for teachers, `freeze_batch_norm`, `quantizer_lr` and `workers`.",
    )
    lr: float = Field(0.001, gt=0, description="Peak learning rate of that.")


class ReconstructionSpec(RoomSection):
    """How plans that go to the full fine-tune are calibrated instead, where that is worth minutes. Further keys are the calibrator's
    own options.
    """

    calibrator: str = Field("brecq", description="A file in `trainers/calibrators/`.")
    images: int = Field(1024, ge=1, description="Training images, without augmentation, that it sees.")


class PruningSpec(RoomSection):
    """How the channels to remove are chosen. Further keys are the importance's own options."""

    importance: str = Field("l1", description="A file in `trainers/importances/`.")
    gradient_images: int = Field(256, ge=2, description="Training images behind importances that need gradients.")


class ExportSpec(Section):
    """What is written of the winner."""

    formats: list[str] = Field(["torch_weights"], min_length=1, description="Files in `trainers/exporters/`.")
