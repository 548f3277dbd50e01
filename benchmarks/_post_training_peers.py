"""Quantisation after training by others, on the same network, images and bits; `pip install .[peers-post-training]`.

brevitas, as its own ImageNet example does it: batch norm merged, channels equalised, weights per channel where the squared error is
smallest, activations per tensor at a percentile, biases corrected. onnxruntime: its static quantiser, weights per channel, activations by
their extremes. torchao: its quantiser of exported programs for x86, as it comes. The last two have eight bits alone.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

#: Images a batch while calibrating.
BATCH = 32


class Ran(nn.Module):
    """An ONNX file as a module: normalised images (batch, channels, height, width) to answers."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])

    def forward(self, x: Tensor) -> Tensor:
        (name,) = [one.name for one in self._session.get_inputs()]
        return torch.from_numpy(np.asarray(self._session.run(None, {name: x.contiguous().numpy()})[0]))


def brevitas(model: nn.Module, images: Tensor, weight_bits: int, act_bits: int) -> nn.Module:
    from brevitas.graph.quantize import preprocess_for_quantize
    from brevitas_examples.imagenet_classification.ptq import ptq_common

    merged = preprocess_for_quantize(copy.deepcopy(model).eval(), equalize_iters=20, merge_bn=True, trace_model=True)
    quantised: nn.Module = ptq_common.quantize_model(
        merged, backend="layerwise", weight_bit_width=weight_bits, act_bit_width=act_bits, bias_bit_width=32,
        weight_quant_granularity="per_channel", act_quant_percentile=99.9, act_quant_type="sym",
        scale_factor_type="float_scale", quant_format="int", weight_param_method="mse",
    )  # fmt: skip
    batches = [(part, torch.zeros(len(part))) for part in images.split(BATCH)]
    ptq_common.calibrate(batches, quantised)
    ptq_common.apply_bias_correction(batches, quantised)
    return quantised.eval()


def onnxruntime(model: nn.Module, images: Tensor, weight_bits: int, act_bits: int) -> nn.Module:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    assert (weight_bits, act_bits) == (8, 8)

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self._left: Iterator[Tensor] = iter(images.split(BATCH))

        def get_next(self) -> dict[str, Any] | None:
            part = next(self._left, None)
            return None if part is None else {"images": part.contiguous().numpy()}

    with tempfile.TemporaryDirectory() as folder:
        plain, ready, found = (Path(folder) / f"{name}.onnx" for name in ("plain", "ready", "found"))
        network = copy.deepcopy(model).eval().to(memory_format=torch.contiguous_format)
        torch.onnx.export(
            network, (images[:2].contiguous(),), plain, input_names=["images"], dynamo=True, verbose=False,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )  # fmt: skip
        quant_pre_process(plain, ready)
        quantize_static(
            ready, found, Images(), quant_format=QuantFormat.QDQ, per_channel=True, weight_type=QuantType.QInt8,
            activation_type=QuantType.QInt8,
        )  # fmt: skip
        return Ran(found)


def torchao(model: nn.Module, images: Tensor, weight_bits: int, act_bits: int) -> nn.Module:
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    assert (weight_bits, act_bits) == (8, 8)
    network = copy.deepcopy(model).eval().to(memory_format=torch.contiguous_format)
    batch = torch.export.Dim("batch")
    exported = torch.export.export(network, (images[:BATCH].contiguous(),), dynamic_shapes=({0: batch},)).module()
    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(exported, quantizer)
    with torch.no_grad():
        for part in images.split(BATCH):
            prepared(part.contiguous())
    return Called(convert_pt2e(prepared))


class Called(nn.Module):
    """An exported program, which refuses `eval` and other memory formats, as a module."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self._program = (program,)  # out of reach of what goes through the modules in a module

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self._program[0](x.contiguous())
        return found


PEERS: dict[str, Callable[[nn.Module, Tensor, int, int], nn.Module]] = {
    "brevitas": brevitas,
    "onnxruntime": onnxruntime,
    "torchao": torchao,
}
