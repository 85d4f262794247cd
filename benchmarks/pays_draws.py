"""Draws for pays.py: few real images of a large data set, as a data set of their own that every script can read.

Half of the surfaces of each class are for testing. They are the same in all draws. The training and validation images
of a draw show other surfaces. What is not drawn is in no part.
"""
import itertools
import os
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from stablesdg.data.folders import list_categories
from stablesdg.data.images import save_image
from stablesdg.data.parts import LEFT_OUT, Split, SplitEntry
from stablesdg.data.split import load_split
from stablesdg.data.surfaces import category_of
from stablesdg.prior.textures import MARKS, draw
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import atomic_folder, write_json

MOST_OF_A_SURFACE = 10  # so many of its images are tested; more of them tell little
TEXTURES, TEXTURE_SIDE, TEXTURE_SEED = 200, 128, 7  # of each kind of mark; pixels; another seed than the prior's
RARE_OTHERS = 80  # training images of each other class beside a rare one

Groups = Mapping[str, Sequence[str]]  # surface -> the names of its images, CATEGORY/FILE


@dataclass(frozen=True)
class Regime:
    """How many real images of each class a draw has for training. The validation part has half as many."""
    name: str
    amount: int
    unit: str  # "images" or "surfaces"
    rare: str | None = None  # a class that has `rare_amount` instead
    rare_amount: int = 0

    def amount_of(self, category: str) -> int:
        """For one class."""
        return self.rare_amount if category == self.rare else self.amount

    @property
    def images(self) -> int | None:
        """Images a class, where all classes have as many; else None."""
        return self.amount if self.unit == "images" and not self.rare else None


def find_regimes(per_class: Sequence[int], surfaces: Sequence[int], rare: Sequence[tuple[str, int]]) -> list[Regime]:
    """The regimes that the command line asks for."""
    return [*(Regime(f"images-{n}", n, "images") for n in per_class),
            *(Regime(f"surfaces-{n}", n, "surfaces") for n in surfaces),
            *(Regime(f"rare-{name}-{n}", RARE_OTHERS, "images", name, n) for name, n in rare)]


# ---- parts ------------------------------------------------------------------------------------------------------


def groups_by_class(files: Mapping[str, SplitEntry]) -> dict[str, dict[str, list[str]]]:
    """{category: {surface: names}} of all images that a split has in a part."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, entry in sorted(files.items()):
        if entry["part"] != LEFT_OUT:
            found.setdefault(category_of(name), {}).setdefault(entry["group"], []).append(name)
    return found


def find_test_surfaces(by_class: Mapping[str, Groups]) -> set[str]:
    """Half of each class's surfaces, drawn by chance. A surface of two classes is for testing: no draw may share it."""
    shared = {group for a in by_class for b in by_class if a < b for group in {*by_class[a]} & {*by_class[b]}}
    chosen = set(shared)
    for category, groups in by_class.items():
        own = random.Random(f"test {category}").sample(sorted({*groups} - shared), len({*groups} - shared))
        chosen.update(own[:max(0, len(groups) // 2 - len(shared & {*groups}))])
    return chosen


def take(groups: Sequence[Sequence[str]], amount: int, unit: str) -> list[Sequence[str]]:
    """The first surfaces: `amount` of them, or as many as give so many images.

    The last surface is cut if there is no room for all of it. None gives more than half of the images, so that a
    composite finds a second surface.
    """
    if unit == "surfaces":
        return list(groups[:amount])
    taken, room = [], amount
    for names in groups:
        if room:
            taken.append(names[:min(room, (amount + 1) // 2)])
            room -= len(taken[-1])
    return taken


def draw_parts(files: Mapping[str, SplitEntry], regime: Regime, draw: int) -> dict[str, str]:
    """{name: part} of the images of one draw. At least one surface of each class is kept for validation.

    Raises UserError for a class with too few surfaces.
    """
    by_class = groups_by_class(files)
    test = find_test_surfaces(by_class)
    parts: dict[str, str] = {}
    for category, groups in by_class.items():
        rest = sorted({*groups} - test)
        if len(rest) < 2 or len(groups) - len(rest) < 1:
            raise UserError(f"{category} has {len(groups)} surfaces: a draw needs one for testing, one for validation "
                            "and one for training.")
        order = [groups[group] for group in random.Random(f"{draw} {category}").sample(rest, len(rest))]
        amount = regime.amount_of(category)
        training = take(order[:-1], amount, regime.unit)
        validation = take(order[len(training):], max(1, amount // 2), regime.unit)
        tested = [groups[group][:MOST_OF_A_SURFACE] for group in sorted({*groups} & test)]
        for part, surfaces in (("train", training), ("val", validation), ("test", tested)):
            parts |= dict.fromkeys((name for names in surfaces for name in names), part)
    return parts


# ---- files ------------------------------------------------------------------------------------------------------


def make_draw(folder: Path, manifest: Path, data: Path, split: Split, parts: Mapping[str, str]) -> None:
    """Make the data set `folder` of a draw, of links to the images of `data`, and its split, unless it is there."""
    if manifest.is_file():
        return
    with atomic_folder(folder) as inside:
        for name in parts:
            link(data / name, inside / name)
    write_json(manifest, {**split, "files": {name: {**split["files"][name], "part": part}
                                             for name, part in sorted(parts.items())}})


def draw_textures(folder: Path, manifest: Path, number: int = TEXTURES) -> None:
    """Make a data set of drawn textures, `number` of each kind of mark, and its split, unless it is there."""
    if manifest.is_file():
        return
    counts = dict.fromkeys(MARKS, 0)
    with atomic_folder(folder) as inside:
        for index in itertools.count():
            texture = draw(index, TEXTURE_SEED, TEXTURE_SIDE)
            mark = texture.attributes["mark"]
            if counts[mark] < number:
                save_image(inside / mark / f"{counts[mark]}.png", Image.fromarray(texture.image))
                counts[mark] += 1
            if min(counts.values()) == number:
                break
    load_split(manifest, list_categories(folder), "random")


def link(source: Path, file: Path) -> None:
    """A hard link, or a copy where the two lie on different disks."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), file)
    except OSError:
        shutil.copyfile(source, file)
