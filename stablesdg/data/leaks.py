"""How far a split leaks: images outside the training part that show surface which lies in it."""
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..storage.errors import UserError
from .parts import PARTS, Split
from .split import named_files
from .surfaces import Files, NamedOverlap, Pair, category_of, components, find_links, progress_bar, same_photograph

TESTED_PARTS = PARTS[1:]


@dataclass(frozen=True)
class CategoryLeak:
    """One category of a split."""
    images: int
    groups: int
    largest_group: int  # images
    pairs: int  # of images that overlap
    false_pairs: int  # found after mirroring, when no true pair is left
    not_compared: int  # pairs whose sizes lie too far apart: see alike.read_alike
    leaked: set[str]  # names of those of them that share surface with a training image
    overlaps: list[NamedOverlap]


@dataclass(frozen=True)
class LeakAcross:
    """Pairs of images of two categories that share surface."""
    pairs: int
    false_pairs: int
    not_compared: int
    copies: list[Pair]  # one picture in two categories
    leaked: set[str]
    overlaps: list[NamedOverlap]


def listed_files(split: Split, folder: Path) -> dict[str, Path]:
    """{name: path} of a category's images. Raises UserError if the split does not know one of them."""
    files = named_files(folder)
    if missing := [name for name in files if name not in split["files"]]:
        raise UserError(f"{missing[0]} is not in the manifest: python -m stablesdg.split {folder.parent} --add takes "
                        "new images in.")
    return files


def measure_leak(split: Split, files: Files, label: str) -> CategoryLeak:
    """Search one category, {name: path}, for overlaps, whatever method its split was made by."""
    links = find_links(files, progress_bar(label))
    false = find_links(files, progress_bar("mirrored"), mirrored=True)
    photographs = same_photograph(files)
    groups = components(files, links.pairs | photographs)
    parts = {name: split["files"][name]["part"] for name in files}
    leaked = leaked_names(links.pairs, parts) | leaked_by_photograph(parts, components(files, photographs))
    return CategoryLeak(
        images=len(files), groups=len(set(groups.values())), largest_group=max(Counter(groups.values()).values()),
        pairs=len(links.pairs), false_pairs=len(false.overlaps), not_compared=links.not_compared, leaked=leaked,
        overlaps=links.overlaps)


def measure_leak_across(split: Split, files: Files) -> LeakAcross:
    """Search images of {CATEGORY/FILE: path} for pairs of two categories that share surface."""
    links = find_links(files, progress_bar("across classes"), across=True)
    false = find_links(files, progress_bar("mirrored"), mirrored=True, across=True)
    parts = {name: split["files"][name]["part"] for name in files}
    tiles = leaked_by_photograph(parts, components(files, same_photograph(files)), across=True)
    return LeakAcross(pairs=len(links.pairs), false_pairs=len(false.overlaps), not_compared=links.not_compared,
                      copies=sorted(links.copies), leaked=leaked_names(links.pairs, parts) | tiles,
                      overlaps=links.overlaps)


def leaked_names(pairs: Collection[Pair], parts: Mapping[str, str]) -> set[str]:
    """Those of the pairs' images that are tested with, beside one that is trained on. `parts` is {name: part}."""
    return {name for a, b in pairs for name, other in ((a, b), (b, a))
            if parts[name] in TESTED_PARTS and parts[other] == "train"}


def leaked_by_photograph(parts: Mapping[str, str], photograph: Mapping[str, str], across: bool = False) -> set[str]:
    """The images that are tested with, and whose photograph has another one that is trained on.

    photograph  {name: a name that all images of its photograph have}
    across      the other one must be of another category
    """
    trained: dict[str, set[str]] = {}
    for name, part in parts.items():
        if part == "train":
            trained.setdefault(photograph[name], set()).add(category_of(name))
    return {name for name, part in parts.items() if part in TESTED_PARTS
            and trained.get(photograph[name], set()) - ({category_of(name)} if across else set())}


def count_parts(names: Collection[str] | Mapping[str, Path], split: Split) -> dict[str, int]:
    """{part: how many of the names lie in it}, for the parts outside training."""
    return {p: sum(split["files"][name]["part"] == p for name in names) for p in TESTED_PARTS}
