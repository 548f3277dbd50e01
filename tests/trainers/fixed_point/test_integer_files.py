"""What hardware teams are given: JSON that says everything, integers in an archive, and a header that C takes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

from pqsearch.errors import UserError
from tests.trainers.fixed_point.test_integer import SHAPE, made, network_of
from trainers.fixed_point import integer_files
from trainers.fixed_point.integer import IntegerNetwork, integer_layers

HEADER_ALONE = """
#include "integers.h"
#include <stdio.h>
int main(void) {
    printf("%d %d %d", (int)sizeof conv1_weight, CONV1_WEIGHT_FRACTION_LENGTH, conv1_weight[5]);
    return 0;
}
"""


def _written(folder: Path) -> IntegerNetwork:
    network = made(network_of("cifar_resnet", depth=8))
    found = IntegerNetwork(network, integer_layers(network))
    assert integer_files.write(found, folder, SHAPE, {"classes": ["a"]}) == [
        folder / "integers.json", folder / "integers.npz", folder / "integers.h",
    ]  # fmt: skip
    return found


def test_the_json_names_every_format_and_operation(tmp_path: Path) -> None:
    network = _written(tmp_path)
    data = json.loads((tmp_path / "integers.json").read_text())
    assert data["classes"] == ["a"] and data["input_shape"] == list(SHAPE)
    first = data["layers"][0]
    assert first["name"] == "conv1" and first["weight_shape"] == [16, 3, 3, 3] and first["padding"] == [1, 1]
    assert first["input"] == {"bits": 8, "signed": True, "fraction_length": first["input"]["fraction_length"]}
    assert first["accumulator_bits"] == network.layers["conv1"].accumulator_bits <= 32
    assert data["layers"][-1]["kind"] == "linear"
    operations = data["operations"]
    assert [row["layer"] for row in operations if row["operation"] == "layer"] == list(network.layers)
    assert sum(row["operation"] == "add" for row in operations) == 3
    assert operations[-1]["shape"] == [10] and operations[-2]["divisor"] == 1  # 64 places are a power of two


def test_the_first_operation_is_the_image(tmp_path: Path) -> None:
    _written(tmp_path)
    image, layer = json.loads((tmp_path / "integers.json").read_text())["operations"][:2]
    assert image == {"id": 0, "operation": "image", "inputs": [], "shape": list(SHAPE)}
    assert (layer["operation"], layer["inputs"], layer["layer"]) == ("layer", [0], "conv1")


def test_the_archive_holds_the_integers(tmp_path: Path) -> None:
    network = _written(tmp_path)
    with np.load(tmp_path / "integers.npz") as arrays:
        assert arrays["conv1.weight"].dtype == np.int8 and arrays["conv1.bias"].dtype == np.int16
        assert np.array_equal(arrays["linear.weight"], network.layers["linear"].weights.numpy())


@pytest.mark.long
def test_a_c_compiler_takes_the_header_and_reads_the_same_integers(tmp_path: Path) -> None:
    network = _written(tmp_path)
    (tmp_path / "main.c").write_text(HEADER_ALONE)
    command = ["cc", "-Wall", "-Wextra", "-Werror", "-Wno-unused-const-variable", "main.c", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    said = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    layer = network.layers["conv1"]
    assert said == f"{layer.weights.numel()} {layer.weight.fraction_length} {int(layer.weights.flatten()[5])}"


def test_names_are_those_that_c_has() -> None:
    found = integer_files.c_names(["0.conv-a", "layer1.0.conv1"])
    assert found == {"0.conv-a": "_0_conv_a", "layer1.0.conv1": "layer1_0_conv1"}


def test_names_that_c_cannot_tell_apart_are_numbered() -> None:
    found = integer_files.c_names(["a.b_c", "a_b.c", "a_b_c_2", "Head", "head"])
    assert list(found.values()) == ["a_b_c", "a_b_c_2", "a_b_c_2_2", "Head", "head_2"]


def test_layers_whose_names_c_cannot_tell_apart_have_arrays_of_their_own(tmp_path: Path) -> None:
    a, b = nn.Module(), nn.Module()
    a.b_c, b.c = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
    both = _Both()
    both.a, both.a_b = a, b
    network = made(both, (3, 8, 8))
    integer_files.write(IntegerNetwork(network, integer_layers(network)), tmp_path, (3, 8, 8), {})
    header = (tmp_path / "integers.h").read_text()
    for name in ("a_b_c", "a_b_c_2"):
        assert header.count(f" {name}_weight[12]") == header.count(f"#define {name.upper()}_INPUT_BITS ") == 1
    rows = json.loads((tmp_path / "integers.json").read_text())["layers"]
    assert [(row["name"], row["c_name"]) for row in rows] == [("a.b_c", "a_b_c"), ("a_b.c", "a_b_c_2")]


class _Both(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (self.a.b_c(x) + self.a_b.c(x)).flatten(1)


def test_files_that_are_missing_or_wrong_are_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no integer files"):
        integer_files.read(tmp_path)
    _written(tmp_path)
    (tmp_path / "integers.json").write_text("{}")
    with pytest.raises(UserError, match="holds no integer files"):
        integer_files.read(tmp_path)


def test_a_network_that_integers_cannot_do_leaves_no_file(tmp_path: Path) -> None:
    network = made(nn.Sequential(nn.Conv2d(3, 4, 1), nn.SiLU(), nn.Flatten(), nn.Linear(256, 3)), (3, 8, 8))
    with pytest.raises(ValueError, match="silu has no integer form"):
        integer_files.write(IntegerNetwork(network, integer_layers(network)), tmp_path, (3, 8, 8), {})
    assert not list(tmp_path.iterdir())
