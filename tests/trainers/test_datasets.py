from __future__ import annotations

import io
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pqsearch.errors import UserError
from tests.trainers.small import fake_cifar, picture, picture_tree, write_archive, write_tree
from trainers.datasets import cifar10, digits, image_folder, imagenet
from trainers.datasets._stratify import stratified


def _problems(root: Path, tmp_path: Path, **options: object) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        image_folder.load(str(root), str(tmp_path / "cache"), **options)  # type: ignore[arg-type]
    return caught.value.problems


def test_digits_hold_out_the_same_stratified_test_images_every_time() -> None:
    dataset = digits.load(None, None)
    assert dataset.input_shape == (1, 8, 8)
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (1197, 600)
    assert set(np.bincount(dataset.test_labels).tolist()) <= {58, 59, 60, 61}
    assert dataset.train_images.max() == 255
    train = {image.tobytes() for image in dataset.train_images}
    assert not any(image.tobytes() in train for image in dataset.test_images)


def test_digits_take_another_number_of_test_images() -> None:
    assert len(digits.load(None, None, test_images=300).test_labels) == 300


def test_strata_keep_their_shares_and_add_up() -> None:
    labels = np.repeat([0, 1, 2], [70, 20, 10])
    picked = stratified(labels, 33, np.random.default_rng(0))
    assert np.bincount(labels[picked]).tolist() == [23, 7, 3]
    assert np.array_equal(picked, np.unique(picked))


def test_a_folder_and_archives_of_it_give_the_same_images(tmp_path: Path) -> None:
    tree = picture_tree()
    backwards = dict(reversed(tree.items()))
    wrapped = {f"./pets/{name}": data for name, data in tree.items()}
    sources = [
        write_tree(tree, tmp_path / "folder"),
        write_archive(backwards, tmp_path / "a.tar.gz"),
        write_archive(wrapped, tmp_path / "b.tar"),
    ]
    loaded = [image_folder.load(str(source), str(tmp_path / "cache")) for source in sources]
    first = loaded[0]
    assert first.classes == ("cat", "dog")
    assert first.train_labels.tolist() == [0] * 4 + [1] * 4
    assert first.train_images[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 100, 110, 120, 130]
    assert first.train_images[:, 1, 0, 0].tolist() == [0, 5, 10, 15, 50, 55, 60, 65]
    for other in loaded[1:]:
        assert np.array_equal(first.train_images, other.train_images)
        assert np.array_equal(first.test_images, other.test_images)
        assert np.array_equal(first.test_labels, other.test_labels)


def test_decoded_images_are_memory_mapped_from_the_cache_and_not_decoded_again(tmp_path: Path) -> None:
    root = write_tree(picture_tree(), tmp_path / "images")
    first = image_folder.load(str(root), str(tmp_path / "cache"))
    assert isinstance(first.train_images, np.memmap)
    (folder,) = (tmp_path / "cache").iterdir()
    stamp = (folder / "train_images.npy").stat().st_mtime_ns
    image_folder.load(str(root), str(tmp_path / "cache"), mean=[0.5, 0.5, 0.5])
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]
    assert (folder / "train_images.npy").stat().st_mtime_ns == stamp


def test_a_changed_image_is_decoded_again(tmp_path: Path) -> None:
    root = write_tree(picture_tree(), tmp_path / "images")
    image_folder.load(str(root), str(tmp_path / "cache"))
    (root / "train/cat/0.png").write_bytes(picture(77))
    assert image_folder.load(str(root), str(tmp_path / "cache")).train_images[0, 0, 0, 0] == 77


def test_a_cache_with_a_lost_file_is_built_again(tmp_path: Path) -> None:
    root = write_tree(picture_tree(), tmp_path / "images")
    image_folder.load(str(root), str(tmp_path / "cache"))
    next((tmp_path / "cache").glob("*/test_images.npy")).unlink()
    assert len(image_folder.load(str(root), str(tmp_path / "cache")).test_images) == 8


def test_the_cache_is_the_users_unless_another_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    image_folder.load(str(write_tree(picture_tree(), tmp_path / "images")), None)
    assert len(list((tmp_path / "home" / "pqsearch").iterdir())) == 1


def _load_and_sum(root: str, cache: str, barrier: object, sums: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    sums.put(int(image_folder.load(root, cache).train_images.sum()))  # type: ignore[attr-defined]


def test_processes_that_build_the_cache_at_once_all_get_whole_images(tmp_path: Path) -> None:
    root = write_tree(picture_tree(40), tmp_path / "images")
    context = multiprocessing.get_context("fork")
    barrier, sums = context.Barrier(3), context.Queue()
    arguments = (str(root), str(tmp_path / "cache"), barrier, sums)
    workers = [context.Process(target=_load_and_sum, args=arguments) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = {sums.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert found == {int(image_folder.load(str(root), str(tmp_path / "cache")).train_images.sum())}
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_size_resizes_the_shorter_side_and_crops_the_centre(tmp_path: Path) -> None:
    tree = picture_tree()
    tree["train/cat/wide.png"] = picture(50, (40, 20))
    dataset = image_folder.load(str(write_tree(tree, tmp_path / "images")), str(tmp_path / "cache"), size=10)
    assert dataset.input_shape == (3, 10, 10)


def test_images_of_two_sizes_name_the_first_odd_one_and_the_option(tmp_path: Path) -> None:
    tree = picture_tree()
    tree["train/dog/odd.png"] = picture(5, (9, 8))
    (problem,) = _problems(write_tree(tree, tmp_path / "images"), tmp_path)
    assert "train/dog/odd.png is 9x8 pixels, train/cat/0.png is 8x8 pixels" in problem
    assert "data.size" in problem


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    root = write_tree(picture_tree(), tmp_path / "images")
    (root / "train" / "emu").mkdir()
    (root / "train" / "emu" / "notes.txt").write_text("none yet")
    (problem,) = _problems(root, tmp_path)
    assert problem.startswith("data.root: class folder train/emu")


def test_a_class_that_is_only_tested_is_named(tmp_path: Path) -> None:
    tree = {**picture_tree(), "test/emu/0.png": picture(1)}
    (problem,) = _problems(write_tree(tree, tmp_path / "images"), tmp_path)
    assert "class 'emu' is in test/ but not in train/" in problem


def test_a_class_without_test_images_is_fine(tmp_path: Path) -> None:
    tree = {**picture_tree(), "train/bee/0.png": picture(1)}
    dataset = image_folder.load(str(write_tree(tree, tmp_path / "images")), str(tmp_path / "cache"))
    assert dataset.classes == ("bee", "cat", "dog")
    assert sorted(set(dataset.test_labels.tolist())) == [1, 2]


@pytest.mark.parametrize("archive", [False, True])
def test_an_unreadable_image_is_named_with_all_other_problems(tmp_path: Path, archive: bool) -> None:
    tree = {**picture_tree(), "train/cat/bad.jpg": b"no picture", "train/cat/cut.png": picture(1)[:40]}
    tree = {name: data for name, data in tree.items() if not name.startswith("test/")}
    root = write_archive(tree, tmp_path / "a.tar") if archive else write_tree(tree, tmp_path / "images")
    problems = _problems(root, tmp_path)
    assert any("train/cat/bad.jpg" in problem for problem in problems)
    assert any("train/cat/cut.png" in problem for problem in problems)
    assert any("no test/<class> folders" in problem for problem in problems)
    assert not list((tmp_path / "cache").iterdir())


def test_a_missing_train_folder_is_named(tmp_path: Path) -> None:
    tree = {name: data for name, data in picture_tree().items() if name.startswith("test/")}
    assert any(
        "no train/<class> folders" in problem for problem in _problems(write_tree(tree, tmp_path / "i"), tmp_path)
    )


def test_one_class_is_too_few(tmp_path: Path) -> None:
    tree = {name: data for name, data in picture_tree().items() if "/cat/" in name}
    (problem,) = _problems(write_tree(tree, tmp_path / "images"), tmp_path)
    assert "two or more" in problem


@pytest.mark.parametrize("content", [b"", b"just a text\n", b"\x1f\x8b\x08\x00broken"])
def test_a_file_that_is_no_archive_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.tar.gz"
    path.write_bytes(content)
    assert any(str(path) in problem for problem in _problems(path, tmp_path))


def test_a_truncated_archive_is_named(tmp_path: Path) -> None:
    path = write_archive(picture_tree(30), tmp_path / "data.tar.gz")
    path.write_bytes(path.read_bytes()[:-200])
    (problem,) = _problems(path, tmp_path)
    assert "readable tar archive" in problem


def test_mean_and_std_need_one_value_a_channel(tmp_path: Path) -> None:
    root = write_tree(picture_tree(), tmp_path / "images")
    problems = _problems(root, tmp_path, mean=[0.5], std=[0.1, 0.2])
    assert [problem.partition(":")[0] for problem in problems] == ["data.mean", "data.std"]
    dataset = image_folder.load(str(root), str(tmp_path / "cache"), mean=[0.1, 0.2, 0.3])
    assert dataset.mean == (0.1, 0.2, 0.3)


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    root = write_tree(picture_tree(), tmp_path / "images")
    with pytest.raises(UserError, match=r"^data\.cache: "):
        image_folder.load(str(root), str(tmp_path / "file" / "cache"))


def test_cifar_batches_become_images_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fake_cifar(tmp_path / "cifar", monkeypatch)
    dataset = cifar10.load(str(root), str(tmp_path / "cache"))
    assert dataset.train_images.shape == (100, 3, 32, 32)
    assert dataset.test_labels.tolist() == [row % 10 for row in range(20)]
    first = np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)
    assert np.array_equal(dataset.train_images[:20].reshape(20, -1), first)


def test_damaged_cifar_batches_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fake_cifar(tmp_path / "cifar", monkeypatch)
    (root / "cifar-10-batches-py" / "test_batch").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"^data\.root: .*data\.download"):
        cifar10.load(str(root), str(tmp_path / "cache"))


def _striped(width: int, height: int) -> bytes:
    """Every column of its own brightness."""
    file = io.BytesIO()
    columns = np.broadcast_to(np.arange(width, dtype=np.uint8)[None, :, None], (height, width, 3))
    Image.fromarray(np.ascontiguousarray(columns)).save(file, "PNG")
    return file.getvalue()


def test_imagenet_is_resized_by_the_shorter_side_and_cropped_at_the_centre(tmp_path: Path) -> None:
    tree = {f"{split}/{name}/0.png": _striped(64, 32) for split in ("train", "val") for name in ("n01", "n02")}
    tree["train/n02/1.png"] = _striped(32, 48)
    root = write_tree(tree, tmp_path / "images")
    found = imagenet.load(str(root), str(tmp_path / "cache"), size=24, resize=32)
    assert found.train_images.shape == (3, 3, 24, 24) and found.test_images.shape == (2, 3, 24, 24)
    # 64 by 32 stays as it is, and columns 20 to 43 are left; 32 by 48 loses 4 at each side.
    assert found.train_images[0, 0, 5].tolist() == list(range(20, 44))
    assert found.train_images[2, 2, 0].tolist() == list(range(4, 28))
    small = imagenet.load(str(root), str(tmp_path / "cache"), size=8, resize=16)
    assert small.train_images.shape == (3, 3, 8, 8)
    assert (found.mean, found.std) == imagenet.STATISTICS


def test_imagenet_takes_an_archive_and_keeps_the_labels_of_classes_that_val_lacks(tmp_path: Path) -> None:
    tree = {name: data for name, data in picture_tree(held_out="val").items() if not name.startswith("val/cat")}
    source = write_archive(tree, tmp_path / "imagenet.tar")
    found = imagenet.load(str(source), str(tmp_path / "cache"), size=8, resize=8, mean=[0.5] * 3)
    assert found.classes == ("cat", "dog") and set(found.test_labels.tolist()) == {1}
    assert found.mean == (0.5, 0.5, 0.5)


def test_what_is_wrong_with_imagenet_is_said_with_the_way_out(tmp_path: Path) -> None:
    heap = {
        name.replace("val/cat/", "val/").replace("val/dog/", "val/d"): data
        for name, data in picture_tree(held_out="val").items()
    }
    cases = {
        "heap": (heap, {}, "has no val/<class> folders; it must hold val/<class>/<image>"),
        "more": ({**picture_tree(held_out="val"), "val/owl/0.png": picture(9)}, {}, "class 'owl' is in val/ but not in train/"),
        "sizes": (picture_tree(held_out="val"), {"resize": 200}, "data.resize: must be at least data.size, which is 224, got 200"),
    }  # fmt: skip
    for name, (tree, options, words) in cases.items():
        root = write_tree(tree, tmp_path / name)
        with pytest.raises(UserError) as caught:
            imagenet.load(str(root), str(tmp_path / "cache"), **options)  # type: ignore[arg-type]
        assert words in caught.value.problems[0]
