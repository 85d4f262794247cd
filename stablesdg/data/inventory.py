"""What kind of files a data set consists of, and which of them are odd. Needs no PyTorch."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..storage.errors import UserError
from .descriptor import difference_hash
from .folders import has_image_ending, is_hidden
from .images import MOST_PIXELS, read_image, readable
from .parts import count
from .surfaces import Progress, no_progress

BITS = {"1": 1, "I": 32, "F": 32}  # by Pillow's mode; those with 16 in their name have 16, and all others 8
LEAST_CONTRAST = 1.0  # gray levels; an image with less shows nothing
MOST_KINDS_NAMED = 3  # in a line, or in a sentence
TELLING_SHARE = 0.9  # of a class's files that have something in common that other classes do not have


@dataclass(frozen=True)
class FileFacts:
    """One image file."""
    width: int  # pixels
    height: int
    mode: str  # Pillow's: "L" is gray, "RGB" is colour
    bits: int  # of a channel
    codec: str  # "JPEG", "PNG", ..
    gray_in_colour: bool  # stored in colour, and all its pixels are gray
    contrast: float  # standard deviation of its gray levels, of 256
    hash: NDArray  # (64,) bool

    @property
    def size(self) -> str:
        """For a person to read."""
        return f"{self.width} x {self.height}"


@dataclass(frozen=True)
class ClassFacts:
    """The files of one class, in words: what they are, the most frequent kind first."""
    images: int
    sizes: str
    modes: str
    bits: str
    codecs: str


@dataclass(frozen=True)
class Inventory:
    """All files of a data set."""
    files: dict[str, FileFacts]  # by name, CATEGORY/FILE
    classes: dict[str, ClassFacts]
    notes: list[str]  # what is odd, a sentence each


def take_inventory(classes: Mapping[str, Mapping[str, Path]], progress: Progress = no_progress) -> Inventory:
    """Look at the files {class: {name: path}}. Raises UserError if some cannot be read. It names them."""
    facts, broken = dict[str, FileFacts](), list[str]()
    files = [(name, path) for own in classes.values() for name, path in own.items()]
    for i in progress(range(len(files))):
        name, path = files[i]
        try:
            facts[name] = look_at(path)
        except UserError as error:
            broken.append(str(error))
    if broken:
        more = f" It is the first of {count(len(broken), 'such file')}." if len(broken) > 1 else ""
        raise UserError(broken[0] + more)
    by_class = {k: [facts[name] for name in own] for k, own in classes.items()}
    described = {k: ClassFacts(len(own), sizes(own), *(kinds(own, KINDS[label]) for label in ("mode", "bits", "codec")))
                 for k, own in by_class.items()}
    return Inventory(facts, described, find_odd(classes, by_class))


KINDS: dict[str, Callable[[FileFacts], str]] = {"size": lambda facts: facts.size, "mode": lambda facts: facts.mode,
                                                "bits": lambda facts: str(facts.bits),
                                                "codec": lambda facts: facts.codec}


def look_at(path: Path) -> FileFacts:
    """Read one file. Raises UserError if that fails."""
    with readable(path), Image.open(path) as file:
        mode, codec = file.mode, file.format or "?"
    image, _ = read_image(path)
    pixels = np.asarray(image)
    same = bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())
    gray = image.convert("L")
    return FileFacts(image.width, image.height, mode, 16 if "16" in mode else BITS.get(mode, 8), codec,
                     same and mode not in ("1", "L", "LA") and not mode.startswith("I"),
                     float(np.asarray(gray, dtype=np.float32).std()), difference_hash(gray))


def kinds(files: Sequence[FileFacts], of: Callable[[FileFacts], str]) -> str:
    """"JPEG", or "JPEG (90), PNG (10)"."""
    counts = Counter(map(of, files)).most_common()
    if len(counts) == 1:
        return counts[0][0]
    return few([f"{kind} ({n})" for kind, n in counts])


def sizes(files: Sequence[FileFacts]) -> str:
    """"200 x 200", or the range where there are many."""
    if len({facts.size for facts in files}) <= MOST_KINDS_NAMED:
        return kinds(files, KINDS["size"])
    width, height = [facts.width for facts in files], [facts.height for facts in files]
    return f"{min(width)} to {max(width)} x {min(height)} to {max(height)}"


# ---- what is odd ------------------------------------------------------------------------------------------------


def find_odd(classes: Mapping[str, Mapping[str, Path]], facts: Mapping[str, Sequence[FileFacts]]) -> list[str]:
    """A sentence for each thing that a person should look at."""
    everything = [one for own in facts.values() for one in own]
    return [*telling_kinds(facts), *strange_files({path.parent for own in classes.values() for path in own.values()}),
            *said(sum(one.contrast < LEAST_CONTRAST for one in everything), "image", "shows nothing but one gray level",
                  "show nothing but one gray level each"),
            *said(sum(one.gray_in_colour for one in everything), "image", "is gray and stored in colour",
                  "are gray and stored in colour"),
            *said(sum(one.width * one.height > MOST_PIXELS for one in everything), "image",
                  "has more than a million pixels: python -m stablesdg.prepare cuts it into tiles",
                  "have more than a million pixels: python -m stablesdg.prepare cuts them into tiles")]


def said(n: int, noun: str, of_one: str, of_many: str) -> list[str]:
    """No sentence for 0, else one."""
    return [f"{count(n, noun)} {of_one if n == 1 else of_many}."] if n else []


def telling_kinds(facts: Mapping[str, Sequence[FileFacts]]) -> list[str]:
    """What nearly all files of a class have and nearly none of another: a classifier can learn it in place of a defect.

    Sizes are left out where they vary within classes, as those of pieces that were cut out do.
    """
    notes = []
    for label, of in KINDS.items():
        main = {k: Counter(map(of, own)).most_common(1)[0] for k, own in facts.items()}
        sure = {k: kind for k, (kind, n) in main.items() if n >= TELLING_SHARE * len(facts[k])}
        if len(set(sure.values())) > 1:
            by_kind: dict[str, list[str]] = {}
            for k, kind in sure.items():
                by_kind.setdefault(kind, []).append(k)
            told = "; ".join(f"{kind}: {few(own)}" for kind, own in by_kind.items())
            notes.append(f"The {label} tells classes apart ({told}): a classifier can learn that in place of the "
                         "defect.")
    return notes


def strange_files(folders: Collection[Path]) -> list[str]:
    """Files in class folders that are not images by their names."""
    notes = []
    for folder in sorted(folders):
        names = sorted(f.name for f in folder.iterdir() if f.is_file() and not is_hidden(f) and not has_image_ending(f)
                       and f.name != "tiles.csv")
        if names:
            what = "is not read as an image" if len(names) == 1 else "are not read as images"
            notes.append(f"{count(len(names), 'file')} of {folder.name} {what} ({few(names)}).")
    return notes


def few(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - MOST_KINDS_NAMED
    return ", ".join(names[:MOST_KINDS_NAMED]) + (f" and {more} more" if more > 0 else "")
