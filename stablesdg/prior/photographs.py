"""Photographs of surfaces to pretrain on: read, rid of near-duplicates, packed into one file, cropped and described.

A folder of photographs may hold a manifest.csv with the columns file, words, repository and licence. Without one, all
images in it and below it are taken. Folders inside are sources. How often a source is drawn from grows with the number
of its photographs and with how unlike they are, so that a source of many like images does not outweigh the others.
The pack is one safetensors file with the compressed images. It travels to a machine that has no folder and no network.
"""
import functools
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from ..data.folders import EXTENSIONS
from ..data.images import read_image
from ..storage.errors import UserError
from ..storage.files import read_csv
from ..storage.tensors import read_metadata, save_tensors
from .descriptions import caption, describe
from .textures import Texture, pick

FOLDER = "folder"  # in a pack: where its photographs are from
MAX_SIDE, MIN_SIDE = 320, 64  # pixels of a packed photograph: larger ones are shrunk, smaller ones left out
QUALITY = 87  # of the JPEG that a shrunk photograph is packed as
MIN_BRIGHTNESS, MIN_DEVIATION = 12, 1.5  # gray levels: darker or more uniform photographs show nothing
THUMBNAIL = 24  # pixels: what near-duplicates are compared by
DUPLICATE_DISTANCE = 0.3  # of two thumbnails, relative to the deviation of the gray levels in them
MIN_DUPLICATE_DEVIATION = 1.5  # gray levels that this deviation is at least taken for

MAX_SHRINKING = 3.0  # pixels of the photograph for one of the crop
NATIVE_SHARE, ZOOM = 0.5, 1.3  # of the crops at the photograph's own scale; the others are enlarged at most so much
GRAY_SHARE, RELIT_SHARE, NOISY_SHARE = 0.5, 0.4, 0.25  # of the crops
LUMA = np.repeat([[0.299], [0.587], [0.114]], 3, axis=1).astype(np.float32)  # of ITU-R 601: a colour's share of gray
MAX_NOISE = 4.0  # gray levels, standard deviation


@dataclass(frozen=True)
class Photograph:
    """A packed photograph: where it came from, and its bytes within the pack."""
    file: str
    source: str
    words: str  # which may name its material
    origin: str  # repository and licence, or ""
    start: int
    end: int


@dataclass(frozen=True)
class Photographs:
    """All photographs of a pack. It is small: images are read from the file when they are asked for."""
    pack: Path
    photographs: tuple[Photograph, ...]
    weights: Mapping[str, float]  # source -> how often it is drawn from, in proportion

    @functools.cached_property
    def sources(self) -> dict[str, list[Photograph]]:
        """The photographs of each source."""
        groups: dict[str, list[Photograph]] = {}
        for photograph in self.photographs:
            groups.setdefault(photograph.source, []).append(photograph)
        return groups

    def read(self, photograph: Photograph) -> Image.Image:
        """The RGB image of a photograph."""
        with open(self.pack, "rb") as file:
            header = int.from_bytes(file.read(8), "little")  # of a safetensors file; its only tensor follows
            file.seek(8 + header + photograph.start)
            data = file.read(photograph.end - photograph.start)
        with Image.open(io.BytesIO(data)) as image:
            return image.convert("RGB")

    def draw(self, index: int, seed: int, side: int) -> Texture:
        """The crop of one index, `side` pixels wide, with its caption.

        It depends on (seed, index, side) and the pack alone.
        """
        rng = np.random.default_rng([seed, index, 1])
        groups = self.sources
        weights = np.array([self.weights[source] for source in groups])
        source = list(groups)[rng.choice(len(groups), p=weights / weights.sum())]
        photograph = pick(rng, groups[source])
        image = augment(rng, crop(rng, self.read(photograph), side))
        attributes = describe(image, photograph.words)
        return Texture(image, caption(rng, attributes), attributes)


def open_pack(pack: Path) -> Photographs:
    """The photographs of a file that `write_pack` wrote."""
    metadata = read_metadata(pack)
    if "photographs" not in metadata:
        raise UserError(f"{pack} holds no photographs: pass a folder of images, or a file that was packed from one.")
    photographs = tuple(Photograph(**row) for row in json.loads(metadata["photographs"]))
    return Photographs(pack, photographs, json.loads(metadata["weights"]))


# ---- from a folder to a pack ------------------------------------------------------------------------------------


def write_pack(folder: Path, pack: Path) -> None:
    """Read a folder of photographs, leave out near-duplicates, and write the rest into one file."""
    chunks, rows, position = [], [], 0
    thumbnails: dict[str, list[np.ndarray]] = {}
    listed = list(list_photographs(folder))
    for file, words, origin in tqdm(listed, unit="photograph", desc="packing"):
        source = file.split("/")[0] if "/" in file else folder.name
        image, mode = read_image(folder / file)
        mark = thumbnail(image)
        known = thumbnails.setdefault(source, [])
        if min(image.size) < MIN_SIDE or shows_nothing(image) or is_duplicate(mark, known):
            continue
        known.append(mark)
        data = packed_bytes(folder / file, image, mode)
        rows.append(asdict(Photograph(file, source, words, origin, position, position + len(data))))
        position += len(data)
        chunks.append(np.frombuffer(data, dtype=np.uint8))
    if not rows:
        raise UserError(f"{folder} holds no photograph of at least {MIN_SIDE} pixels that shows something.")
    weights = {source: weight(np.stack(marks)) for source, marks in thumbnails.items() if marks}
    save_tensors(pack, {"images": torch.from_numpy(np.concatenate(chunks))},
                 {"photographs": json.dumps(rows), "weights": json.dumps(weights), FOLDER: str(folder.resolve())})
    print(f"{pack}: {len(rows)} photographs, {len(listed) - len(rows)} near-duplicates and empty ones left out, "
          f"{position / 2**20:.1f} MiB")


class Listing(NamedTuple):
    """A photograph as its folder has it. `file` is relative to the folder."""
    file: str
    words: str
    origin: str


def list_photographs(folder: Path) -> Iterator[Listing]:
    """The photographs of a folder, by its manifest if there is one."""
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    manifest = folder / "manifest.csv"
    if manifest.is_file():
        for row in read_csv(manifest, ("file",)):
            origin = f"{row['repository']} ({row.get('licence') or 'licence unknown'})" if row.get("repository") else ""
            yield Listing(row["file"], f"{row.get('words') or ''} {row['file'].split('/')[0]}", origin)
        return
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.suffix.lower() in EXTENSIONS and not any(part.startswith(".") for part in inside.parts):
            file = inside.as_posix()
            yield Listing(file, file.rpartition("/")[0].replace("/", " "), "")


def shows_nothing(image: Image.Image) -> bool:
    """Is it nearly black or quite uniform?"""
    gray = np.asarray(image.convert("L"), dtype=np.float32)
    return bool(gray.mean() < MIN_BRIGHTNESS or gray.std() < MIN_DEVIATION)


def thumbnail(image: Image.Image) -> np.ndarray:
    """(THUMBNAIL^2,) gray levels about their mean, in units of their deviation."""
    gray = image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    small = np.asarray(gray, dtype=np.float32).ravel()
    small = small - small.mean()
    return small / max(float(small.std()), MIN_DUPLICATE_DEVIATION)


def is_duplicate(mark: np.ndarray, others: Sequence[np.ndarray]) -> bool:
    """Is a thumbnail nearly one of the others?"""
    if not others:
        return False
    distances = np.sqrt(np.square(np.stack(others) - mark).mean(axis=1))
    return bool(distances.min() < DUPLICATE_DISTANCE)


def weight(marks: np.ndarray) -> float:
    """How often a source is drawn from, in proportion, by the thumbnails (n, THUMBNAIL^2) of its photographs.

    It is (n n')^(1/4). n' = n^2 / sum of c_ij^2 is the number of unlike photographs that would spread as much, and c_ij
    the correlation of two thumbnails.
    """
    unit = marks / np.linalg.norm(marks, axis=1, keepdims=True).clip(min=1e-6)
    unlike = len(marks) ** 2 / np.square(unit @ unit.T).sum()
    return round(float(len(marks) * unlike) ** 0.25, 3)


def packed_bytes(path: Path, image: Image.Image, mode: str) -> bytes:
    """The JPEG file as it is if it is small enough, else a smaller one."""
    if max(image.size) <= MAX_SIDE and path.suffix.lower() in (".jpg", ".jpeg"):
        return path.read_bytes()
    image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    with io.BytesIO() as file:
        image.convert(mode).save(file, "JPEG", quality=QUALITY)
        return file.getvalue()


# ---- from a photograph to a crop --------------------------------------------------------------------------------


def crop(rng: np.random.Generator, image: Image.Image, side: int) -> np.ndarray:
    """A random square of the image at one of several scales, turned and mirrored at random: (side, side, 3) uint8."""
    largest = min(image.size) / side  # pixels of the photograph for one of the crop
    low = min(1 / ZOOM, largest)
    high = max(low, min(largest, MAX_SHRINKING))
    scale = float(np.clip(1.0, low, high))
    if rng.random() >= NATIVE_SHARE:
        scale = low * (high / low) ** rng.random()
    width = min(round(side * scale), min(image.size))
    left, top = (int(rng.integers(0, full - width + 1)) for full in image.size)
    square = image.crop((left, top, left + width, top + width))
    if width != side:
        square = square.resize((side, side), Image.Resampling.BICUBIC)
    pixels = np.rot90(np.asarray(square), int(rng.integers(4)))
    return np.ascontiguousarray(pixels[:, ::-1] if rng.random() < 0.5 else pixels)


def augment(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """The crop in gray, under other light or with a sensor's noise, each at random."""
    x = pixels.astype(np.float32)
    if rng.random() < GRAY_SHARE:
        x = x @ LUMA
    if rng.random() < RELIT_SHARE:
        mean = x.mean()
        x = (x - mean) * rng.uniform(0.6, 1.6) + mean + rng.uniform(-50, 50)
    if rng.random() < NOISY_SHARE:
        x = x + rng.uniform(0, MAX_NOISE) * rng.standard_normal(x.shape[:2])[..., None]
    return x.round().clip(0, 255).astype(np.uint8)
