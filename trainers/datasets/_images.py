"""Images in class folders, or in an archive of them, decoded into arrays."""

from __future__ import annotations

import io
import os
import tarfile
import warnings
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image

from pqsearch.errors import UserError
from trainers.datasets._ahead import in_order, told

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"))
SHOWN = 5  # unreadable images named in one go
CHUNK = 1024  # images moved at once
BROKEN_ARCHIVE = (tarfile.TarError, EOFError, zlib.error, OSError)


@dataclass(frozen=True)
class Entry:
    """One image of a class of a split: its bytes, or the path of its file. A class folder itself has no `name`."""

    split: str
    label: str
    name: str | None = None
    data: bytes | str = b""


@dataclass
class _Part:
    """What was found of one split, in the order in which it came."""

    labels: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    rows: list[tuple[str, str]] = field(default_factory=list)


def decode(
    source: Path,
    splits: tuple[str, ...],
    into: Path,
    *,
    mode: str,
    size: int | None,
    shorter: int | None = None,
    where: str,
) -> dict[str, list[str]]:
    """Decode `<split>/<class>/<image>` below `source`, a folder or a tar archive (read once from front to back).

    Writes `<split>_images.npy` (N, C, H, W) and `<split>_labels.npy` into the folder `into`, images sorted by class
    and name; the split "" has its class folders at the top. `mode` is Pillow's, "RGB" or "L"; `size` is the side of the
    square cropped from the centre, after resizing the shorter side to `shorter`, or to `size` where that is None.
    Returns the sorted classes of each split. Raises `UserError` about `where`, with all problems.
    """
    parts = {split: _Part() for split in splits}
    problems: list[str] = []
    unreadable = 0
    shape: tuple[int, ...] | None = None
    first = odd = ""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # palettes with transparency and the like: the pixels are what counts
        raw = {split: stack.enter_context((into / f"{split}.raw").open("wb")) for split in splits}
        entries = told(_entries(source, splits, where), f"decoding the images of {source}, once")
        for entry, pixels in in_order(entries, lambda entry: _pixels(entry, mode, size, shorter)):
            part = parts[entry.split]
            part.labels[entry.label] += entry.name is not None
            if entry.name is None:
                continue
            shown = "/".join(filter(None, (entry.split, entry.label, entry.name)))
            if isinstance(pixels, str):
                unreadable += 1
                if unreadable <= SHOWN:
                    problems.append(
                        f"{where}: {shown} in {source} is not a readable image ({pixels}); mend or remove it"
                    )
            elif shape is not None and pixels.shape != shape:
                odd = odd or f"{shown} is {_size(pixels.shape)}, {first} is {_size(shape)}"
            else:
                shape, first = pixels.shape, first or shown
                raw[entry.split].write(pixels.tobytes())
                part.rows.append((entry.label, entry.name))
    if unreadable > SHOWN:
        problems.append(f"{where}: {unreadable - SHOWN} more images in {source} are not readable")
    if odd:
        problems.append(f"{where}: images must have one size, {odd}; data.size = N resizes and crops them")
    problems += _structure_problems(source, parts, where)
    if problems or shape is None:
        raise UserError(problems or f"{where}: {source} has no images")
    for split, part in parts.items():
        _sort_into(into, split, part, shape)
    return {split: sorted(part.labels) for split, part in parts.items()}


def _entries(source: Path, splits: tuple[str, ...], where: str) -> Iterator[Entry]:
    if source.is_dir():
        yield from _folder_entries(source, splits)
        return
    try:
        yield from _archive_entries(source, splits)
    except BROKEN_ARCHIVE as error:
        raise UserError(
            f"{where}: {source} is neither a folder nor a readable tar archive ({str(error) or type(error).__name__}); "
            "give a folder, .tar or .tar.gz"
        ) from None


def _folder_entries(source: Path, splits: tuple[str, ...]) -> Iterator[Entry]:
    for split in splits:
        base = source / split
        for folder in sorted(path for path in base.glob("*") if path.is_dir() and not path.name.startswith(".")):
            yield Entry(split, folder.name)
            for parent, inner, names in os.walk(folder, followlinks=True):
                inner.sort()
                # Strings, not paths: of millions of small images these are a part of what reading them takes.
                within = parent[len(str(folder)) :].replace(os.sep, "/").lstrip("/")
                for name in sorted(filter(_is_image, names)):
                    yield Entry(split, folder.name, f"{within}/{name}" if within else name, f"{parent}/{name}")


def _archive_entries(source: Path, splits: tuple[str, ...]) -> Iterator[Entry]:
    # Not as a stream ("r|*"): that takes a compressed archive which was cut short for one that ends there.
    with tarfile.open(source, "r:*") as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it would remember the headers of all images
            names = PurePosixPath(member.name).parts
            if "" not in splits:
                # A folder around the splits is common in archives.
                start = next((index for index, name in enumerate(names[:2]) if name in splits), None)
                if start is None:
                    continue
                split, names = names[start], names[start + 1 :]
            else:
                split = ""
            if member.isdir() and len(names) == 1:
                yield Entry(split, names[0])
            elif member.isfile() and len(names) > 1 and _is_image(names[-1]):
                file = archive.extractfile(member)
                assert file is not None
                yield Entry(split, names[0], "/".join(names[1:]), file.read())


def _is_image(name: str) -> bool:
    stem, _, suffix = name.rpartition(".")
    return bool(stem) and not name.startswith(".") and f".{suffix.lower()}" in SUFFIXES


def _pixels(entry: Entry, mode: str, size: int | None, shorter: int | None) -> NDArray[np.uint8] | str:
    """Pixels (C, H, W), or what is wrong in words."""
    try:
        data = entry.data if isinstance(entry.data, bytes) else Path(entry.data).read_bytes()
    except OSError as error:
        return error.strerror or str(error)
    try:
        with Image.open(io.BytesIO(data)) as image:
            picture = image.convert(mode)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return "not an image that Pillow knows" if isinstance(error, Image.UnidentifiedImageError) else str(error)
    if size is not None:
        picture = resized(picture, size, shorter)
    pixels = np.asarray(picture)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def resized(picture: Any, size: int, shorter: int | None = None) -> Any:
    """With a shorter side of `shorter` pixels (`size` unless given), and a square of `size` from the centre of it."""
    width, height = picture.size
    shorter = size if shorter is None else shorter
    if (width, height) == (size, size) and shorter == size:
        return picture
    scale = shorter / min(width, height)
    width, height = max(shorter, round(width * scale)), max(shorter, round(height * scale))
    left, top = (width - size) // 2, (height - size) // 2
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return picture.crop((left, top, left + size, top + size))


def _structure_problems(source: Path, parts: dict[str, _Part], where: str) -> Iterator[str]:
    for split, part in parts.items():
        inside = f"{split}/" if split else ""
        if not part.labels:
            yield f"{where}: {source} has no {inside}<class> folders; it must hold {inside}<class>/<image>"
        for label, number in sorted(part.labels.items()):
            if not number:
                yield f"{where}: class folder {inside}{label} in {source} has no images; add some or remove it"
    train = parts["train"].labels.keys() if "train" in parts else ()
    for split, part in parts.items() if train else ():
        for label in sorted(part.labels.keys() - train):
            yield f"{where}: class {label!r} is in {split}/ but not in train/ of {source}; add training images of it"


def _sort_into(folder: Path, split: str, part: _Part, shape: tuple[int, ...]) -> None:
    """From raw pixels in the order they came to arrays in sorted order, a chunk at a time."""
    path = folder / f"{split}.raw"
    raw = np.memmap(path, dtype=np.uint8, mode="r", shape=(len(part.rows), *shape))
    order = sorted(range(len(part.rows)), key=part.rows.__getitem__)
    images = open_memmap(folder / f"{split}_images.npy", mode="w+", dtype=np.uint8, shape=raw.shape)
    for start in range(0, len(order), CHUNK):
        images[start : start + CHUNK] = raw[order[start : start + CHUNK]]
    images.flush()
    index = {label: number for number, label in enumerate(sorted(part.labels))}
    np.save(folder / f"{split}_labels.npy", np.array([index[part.rows[row][0]] for row in order], dtype=np.int64))
    path.unlink()


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[2]}x{shape[1]} pixels"
