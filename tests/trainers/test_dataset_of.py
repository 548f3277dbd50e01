"""Images by the names that are no files of ours: torchvision's sets, and functions of the user's."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pqsearch.errors import UserError
from pqsearch.spec import load_spec
from pqsearch.spec_network import DataSpec
from tests.conftest import write_spec
from tests.own_modules import own_modules
from trainers.dataset_of import dataset_of
from trainers.datasets._types import Dataset

OWN = """
import numpy as np
import torch
from PIL import Image
from trainers import Dataset

RNG = np.random.default_rng(0)
LABELS = np.arange(40) % 4

def arrays(*, side=8, classes=4):
    images = RNG.integers(0, 256, (40, 3, side, side), dtype=np.uint8)
    return (images, LABELS % classes), (images[:8], LABELS[:8] % classes)

def dataset(root):
    images = RNG.integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    return Dataset(images, LABELS, images[:8], LABELS[:8], ("a", "b", "c", "d"), (0.5,), (0.3,), root)

class Pictures(torch.utils.data.Dataset):
    classes = ["north", "south"]
    def __init__(self, kind, count): self.kind, self.count = kind, count
    def __len__(self): return self.count
    def __getitem__(self, index):
        pixels = np.full((6, 6, 3), index, np.uint8)
        made = {"pillow": Image.fromarray, "array": np.asarray, "grey": lambda p: Image.fromarray(p[:, :, 0]),
                "tensor": lambda p: torch.from_numpy(p).permute(2, 0, 1), "float": lambda p: torch.rand(3, 6, 6)}
        return made[self.kind](pixels), index % 2

def pictures(*, kind="pillow"):
    return Pictures(kind, 10), Pictures(kind, 4)

def floats(): return (np.zeros((4, 3, 8, 8)), LABELS[:4]), (np.zeros((4, 3, 8, 8)), LABELS[:4])
def short(): return (np.zeros((4, 3, 8, 8), np.uint8), LABELS), arrays()[1]
def far(): return arrays()[0], (np.zeros((2, 3, 8, 8), np.uint8), np.array([0, -1]))
def other(): return arrays()[0], arrays(side=6)[1]
def nothing(): return None
def lone(): return arrays(classes=1)
def gap(): return (np.zeros((4, 3, 8, 8), np.uint8), np.array([0, 2, 0, 2])), arrays()[1]
def fails(): raise OSError("no such share")
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[str]:
    with own_modules(tmp_path, mydata=OWN) as found:
        yield str(found)


def _own(folder: str, function: str, **options: Any) -> Dataset:
    return dataset_of(DataSpec(name=f"mydata:{function}", folder=folder, **options))


def test_arrays_of_the_users_are_taken_as_they_are(own: str) -> None:
    found = _own(own, "arrays", side=9)
    assert found.input_shape == (3, 9, 9) and found.classes == ("0", "1", "2", "3")
    assert (len(found.train_labels), len(found.test_labels)) == (40, 8)
    assert found.mean == pytest.approx([0.5] * 3, abs=0.05)


def test_a_dataset_of_the_users_keeps_its_names_and_gets_the_root(own: str) -> None:
    found = _own(own, "dataset", root="/somewhere")
    assert found.classes == ("a", "b", "c", "d") and found.origin == "/somewhere"


@pytest.mark.parametrize("kind", ["pillow", "array", "tensor", "grey"])
def test_sequences_as_torch_has_them_are_decoded_whatever_their_images_are(own: str, kind: str) -> None:
    found = _own(own, "pictures", kind=kind)
    assert found.input_shape == (1 if kind == "grey" else 3, 6, 6) and found.classes == ("north", "south")
    assert found.train_images[7].min() == found.train_images[7].max() == 7
    assert found.train_labels.tolist() == [0, 1] * 5


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("floats", "training data of mydata:floats must be images (N, C, H, W) in uint8"),
        ("short", "training data of mydata:short must have a label for each image, got 4 images and 40 labels"),
        ("far", "test data of mydata:far must have labels from 0 to 3, got -1 to 0"),
        ("other", "test data of mydata:other must be images of (3, 8, 8) as the training images, got (3, 6, 6)"),
        ("nothing", "mydata:nothing must return a trainers.Dataset, or training and test data, got NoneType"),
        ("lone", "mydata:lone must have two classes or more, got 1"),
        ("gap", "mydata:gap has no training image of 1, 3"),
        ("fails", "mydata:fails failed with {}: OSError: no such share"),
        ("missing", "mydata has no function or class 'missing'"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_in_words(own: str, function: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        _own(own, function)
    assert any(problem.startswith(f"data.name: {words}") for problem in error.value.problems), error.value


def test_images_that_were_normalised_already_are_refused(own: str) -> None:
    with pytest.raises(UserError, match="must be bytes from 0 to 255, got float32; leave normalising"):
        _own(own, "pictures", kind="float")


def _mnist(root: Path) -> np.ndarray[Any, Any]:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, count in (("train", 60), ("t10k", 20)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        (raw / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + images.tobytes())
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels.tobytes())
    return images


def test_a_set_of_torchvisions_is_decoded_once_and_mapped(tmp_path: Path) -> None:
    test_images = _mnist(tmp_path / "data")
    spec = DataSpec(name="torchvision:MNIST", root=str(tmp_path / "data"), cache=str(tmp_path / "cache"))
    first = dataset_of(spec)
    assert first.input_shape == (1, 28, 28) and first.classes[3] == "3 - three"
    assert np.array_equal(first.test_images[:, 0], test_images)
    assert isinstance(first.train_images, np.memmap)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    assert np.array_equal(dataset_of(spec).train_labels, first.train_labels)
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}


def test_pictures_of_several_sizes_are_resized_where_a_size_is_given(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        for label in ("negative", "positive"):
            folder = tmp_path / "data" / "rendered-sst2" / split / label
            folder.mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (20 + number, 30)).save(folder / f"{number}.png")
    spec = DataSpec(name="torchvision:RenderedSST2", root=str(tmp_path / "data"), cache=str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"images must have one size, image 1 is .* data.size = N resizes"):
        dataset_of(spec)
    found = dataset_of(spec.model_copy(update={"size": 16}))
    assert found.input_shape == (3, 16, 16) and found.classes == ("negative", "positive")


def test_data_that_are_not_there_are_told_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^data.root: is required by torchvision:MNIST"):
        dataset_of(DataSpec(name="torchvision:MNIST"))
    with pytest.raises(UserError, match=r"^data.root: MNIST in .* cannot be read .*; data.download = true fetches it$"):
        dataset_of(DataSpec(name="torchvision:MNIST", root=str(tmp_path)))


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("data.name=torchvision:MNITS", "data.name: unknown set 'torchvision:MNITS', did you mean 'MNIST'?, choose from"),
        ("data.name=digist", "data.name: unknown name 'digist', did you mean 'digits'?"),
        ("data.name=nowhere:load", "data.name: there is no module 'nowhere' in"),
        ("data.name=mydata:arrays data.sid=3", "data.sid: unknown option of 'mydata:arrays', did you mean 'side'?"),
        ("data.name=torchvision:MNIST data.siz=3", "data.siz: unknown option of 'torchvision:MNIST', did you mean 'size'?"),
    ],
)  # fmt: skip
def test_a_spec_that_names_data_wrongly_is_refused_before_anything_is_loaded(
    own: str, override: str, line: str
) -> None:
    path = write_spec(Path(own), data={"name": "digits", "score_images": 100, "select_images": 60})
    with pytest.raises(UserError) as error:
        load_spec(path, override.split())
    (problem,) = error.value.problems
    assert problem.startswith(line)
