"""Which real images new ones are made of, and how often each."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.folders import list_images
from ..data.generated import source_name
from ..data.split import Split, load_split, part_files, refuse_leak
from ..data.surfaces import category_of
from ..storage.errors import UserError
from ..storage.files import read_csv, sha256
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


def read_weights(file: Path, sources: Sequence[Path], split: Split) -> list[float]:
    """How often each source, or each image that is seen again, is to be taken, relative to the others.

    file     CSV with the columns `file` (CATEGORY/FILE) and `weight`. An image that it does not name has weight 1. Rows
             of other classes than those of the sources do not count
    sources  images of one class, or of several

    Raises UserError for an image that is kept out of training, and if no row is of these classes.
    """
    rows = read_csv(file)
    if not rows or not {"file", "weight"} <= set(rows[0]):
        raise UserError(f"{file} has no columns file and weight: its first line must name them.")
    names = [source_name(source) for source in sources]
    classes = {category_of(name) for name in names}
    given = {row["file"]: to_weight(row["weight"], file) for row in rows if category_of(row["file"]) in classes}
    of = ", ".join(sorted(classes))
    if strange := sorted(name for name in given if split["files"].get(name, {}).get("part") != "train"):
        part = split["files"][strange[0]]["part"] if strange[0] in split["files"] else "no"
        raise UserError(f"{file} weights {strange[0]}, which is in {part} part of the split: only training images "
                        "may have a weight.")
    weights = [given.get(name, 1.0) for name in names]
    if not given or not sum(weights):
        raise UserError(f"{file} gives no weight to any image of {of}: it needs a row for one of them at least, "
                        f"with a name like {names[0]}.")
    low, high = min(weights), max(weights)
    print(f"{file} weights {len(given)} of the {len(sources)} images of {of}, from {low:g} to {high:g}"
          + (": all alike, so it changes nothing" if low == high else ""))
    return weights


def to_weight(text: str, file: Path) -> float:
    """A weight of at least 0. Raises UserError for anything else."""
    try:
        weight = float(text)
    except (TypeError, ValueError):
        weight = -1.0
    if not 0 <= weight < float("inf"):
        raise UserError(f"{file} has the weight {text!r}: a weight is a number of at least 0.")
    return weight
