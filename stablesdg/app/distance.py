"""What surrounds fid.py: the reference found, both sides compressed alike, and what the distance depends on told."""
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..data.folders import list_images
from ..data.parts import count
from ..evaluate.codec import Codec, codec_of, encode_alike
from ..evaluate.extract import FeatureExtractor
from ..evaluate.reference import Reference, choose_reference, known_to_generator
from ..storage.errors import UserError
from ..storage.torchrun import rank, size
from . import processes
from .paths import split_file

LEAST_IMAGES = 2  # on either side


@dataclass(frozen=True)
class Sides:
    """What is compared with what."""
    reference: Reference
    folder: Path  # of the generated images
    generated: list[Path]
    real_codec: Codec
    generated_codec: Codec
    alike: bool  # --codec same: both sides are compressed as the real images are, where that is lossy


def open_sides(real: Path, folder: Path, reference: str | None, codec: str) -> Sides:
    """Find the images of both sides. `reference` and `codec` are the arguments of fid.py."""
    found, generated = choose_reference(real, split_file(real), reference), list_images(folder)
    for side, files in ((real, found.files), (folder, generated)):
        if len(files) < LEAST_IMAGES:
            raise UserError(f"{side} gives {count(len(files), 'image')}: FID needs at least two on either side.")
    return Sides(found, folder, generated, codec_of(found.files), codec_of(generated), codec == "same")


def measure_sides(sides: Sides, extractor: FeatureExtractor, batch_size: int) -> tuple[Tensor, Tensor]:
    """Features (N, d) of the real images, and of the generated ones."""
    quality = sides.real_codec.quality
    if not (sides.alike and quality):
        return (features_of(sides.reference.files, extractor, batch_size, "real"),
                features_of(sides.generated, extractor, batch_size, "generated"))
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / side for side in ("real", "generated")]
        for folder in folders:
            folder.mkdir()
        real, generated = (features_of(encode_alike(files, quality, folder), extractor, batch_size)
                           for files, folder in zip((sides.reference.files, sides.generated), folders))
    return real, generated


def features_of(files: Sequence[Path], extractor: FeatureExtractor, batch_size: int, progress: str = "") -> Tensor:
    """Features (N, d) of image files. Process k of N computes every N-th batch, and all meet in the cache on disk."""
    if size() > 1:
        at_once = extractor.images_at_once(batch_size)
        if own := [file for i, file in enumerate(files) if i // at_once % size() == rank()]:
            extractor.of_files(own, batch_size)
        processes.wait_for_all()
    return extractor.of_files(files, batch_size, progress)


def say_conditions(sides: Sides, extractor: FeatureExtractor) -> None:
    """Say what was compared with what, and warn of what makes the distance better or worse than the images are."""
    resize = f"{extractor.resize} resize" if extractor.resize else "images at their own size"
    print(f"{extractor.kind} features, {resize}\nreference: {sides.reference.said}")
    if known := known_to_generator(sides.reference.files, sides.folder):
        print(f"warning: {len(known)} of the {len(sides.reference.files)} reference images are known to the generator: "
              "images were made from them, or it was trained on them. Copies of them would score best. --reference "
              "held-out leaves them out, where a split has others")
    real, generated = sides.real_codec, sides.generated_codec
    if sides.alike:
        print(f"codec: both sides compressed again as {real}, which the real files' tables say" if real.quality else
              f"codec: the real images are {real}, so nothing was compressed again; the generated ones are {generated}")
    elif str(real) != str(generated):
        print(f"codec: the real images are {real}, the generated ones {generated}, and a part of the distance is that "
              "difference; --codec same compresses both alike")
