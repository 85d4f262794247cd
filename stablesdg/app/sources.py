"""Which real images new ones are made of."""
from dataclasses import dataclass
from pathlib import Path

from ..data.folders import list_images
from ..data.split import Split, load_split, part_files, refuse_leak
from ..storage.errors import UserError
from ..storage.files import sha256
from .paths import split_file
from .processes import first_alone


@dataclass(frozen=True)
class RealImages:
    """The real images that new ones are made of, and are compared with."""
    split: Split
    sources: list[Path]
    grounds: list[Path]  # that defects are laid on; none where nothing is composed
    compared: list[Path]  # novelty is the distance from the nearest of these


def find_real_images(data: Path, other: Path | None = None, compose: bool = False,
                     ground: Path | None = None) -> RealImages:
    """The training images of the class in the folder `data`.

    other    a class of the same data set, whose images are the sources instead
    compose  grounds are wanted, too
    ground   a folder of grounds (default: `data`); a class of the same data set gives its training images alone

    Raises UserError if a ground is kept out of training, or if `other` lies in another data set.
    """
    def beside(folder: Path | None) -> list[Path]:
        return [folder] if folder and folder.resolve().parent == data.resolve().parent else []

    if other and not beside(other):
        raise UserError(f"--from {other} is no class beside {data}: both must lie in one data set, which one split "
                        "fixes.")
    with first_alone():
        split = load_split(split_file(data), [data, *beside(other), *beside(ground)])
    own = part_files(split, data, "train")
    sources = part_files(split, other, "train") if other else own
    print(f"sources: the {len(sources)} training images of {other or data}")
    grounds: list[Path] = []
    if compose:
        known = ground is None or bool(beside(ground))
        grounds = part_files(split, ground or data, "train") if known else list_images(ground or data)
        refuse_leak([sha256(file) for file in grounds], split, f"The folder {ground or data}")
        print(f"grounds: {len(grounds)} images of {ground or data}" + (", its training part" if known else ""))
    return RealImages(split, sources, grounds, own + sources if other else own)
