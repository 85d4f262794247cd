"""Images to surfaces: images are linked if they overlap, are copies, or are tiles of one photograph.

    find_links    pairs within a class, or between classes
    components    linked images to groups
"""
from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from ..storage.files import read_csv
from .alike import read_alike
from .copies import MIN_COPY_CORRELATION, MIN_COPY_CORRELATION_ACROSS, find_copies
from .overlap import Overlap, Progress, find_overlaps, find_overlaps_across, no_progress

REPEATED = 0.9  # of each class's images in one group: a pattern, and no overlap

Pair = tuple[str, str]  # two names of images, in alphabetical order
Files = Mapping[str, Path]  # by name, CATEGORY/FILE


@dataclass(frozen=True)
class NamedOverlap:
    """Two images, as they were compared, and how the second lies over the first."""
    first: str
    second: str
    images: tuple[np.ndarray, np.ndarray]  # gray, (H, W) each, shrunk by one factor
    overlap: Overlap


@dataclass(frozen=True)
class Links:
    """What was found among images."""
    overlaps: list[NamedOverlap]
    copies: set[Pair]
    not_compared: int  # pairs whose sizes lie too far apart: see `read_alike`

    @property
    def pairs(self) -> set[Pair]:
        """All pairs that share surface."""
        return {in_order(o.first, o.second) for o in self.overlaps} | self.copies


def category_of(name: str) -> str:
    """CATEGORY of CATEGORY/FILE."""
    return name.partition("/")[0]


def in_order(a: str, b: str) -> Pair:
    """Two names in alphabetical order."""
    return (a, b) if a < b else (b, a)


# ---- links ------------------------------------------------------------------------------------------------------


def find_links(files: Files, progress: Progress = no_progress, new: Collection[str] | None = None,
               mirrored: bool = False, across: bool = False) -> Links:
    """Compare images of {CATEGORY/FILE: path}, in sets of similar size. Copies are sought in all of them together.

    new       only pairs with one of these are compared (default: all)
    mirrored  the second image of each pair is mirrored first, so that what is found is false; no copies are sought
    across    only pairs of two categories are compared
    """
    fresh = set(files) if new is None else set(new)
    names = sorted(files, key=lambda name: (name in fresh, name))
    sets = read_alike([files[name] for name in names])
    overlaps: list[NamedOverlap] = []
    grays: dict[int, np.ndarray] = {}
    for alike in sets:
        own = [names[i] for i in alike.indices]
        first_new = sum(name not in fresh for name in own)
        found = [] if len(own) < 2 else (
            find_overlaps_across(alike.images, list(map(category_of, own)), mirrored, progress, first_new) if across
            else find_overlaps(alike.images, mirrored, progress, first_new))
        overlaps += [NamedOverlap(own[o.i], own[o.j], (alike.images[o.i], alike.images[o.j]), o) for o in found]
        grays |= dict(zip(alike.indices, alike.images))
    least = MIN_COPY_CORRELATION_ACROSS if across else MIN_COPY_CORRELATION
    alike_pairs = [] if mirrored else find_copies([grays[i] for i in range(len(names))], least)
    return Links(
        overlaps=overlaps,
        copies={in_order(names[i], names[j]) for i, j in alike_pairs if names[j] in fresh
                and (not across or category_of(names[i]) != category_of(names[j]))},
        not_compared=count_apart([[names[i] for i in alike.indices] for alike in sets], fresh, across))


def count_apart(sets: Sequence[Sequence[str]], fresh: Collection[str], across: bool) -> int:
    """How many pairs of names lie in different sets, of those that are to be compared."""
    kinds = [Counter((category_of(name), name in fresh) for name in names) for names in sets]
    return sum(n * m for a, b in combinations(kinds, 2) for (one, first), n in a.items()
               for (other, second), m in b.items() if (first or second) and (not across or one != other))


def same_photograph(files: Files) -> set[Pair]:
    """A chain through the tiles of each photograph, as tiles.csv in the images' folders names it.

    A name stands for one photograph, be it in one folder or in several. A tile that was moved into the folder of
    another class, without its line, is still a tile of its photograph.
    """
    photographs: dict[Path, str] = {}
    for folder in sorted({path.parent for path in files.values()}):
        if (listed := folder / "tiles.csv").is_file():
            photographs |= read_tiles(listed, listed.stat().st_mtime_ns)
    moved: dict[tuple[Path, str], list[str]] = {}  # (data set, name of a tile that is gone from its folder)
    for tile, photograph in photographs.items():
        if not tile.exists():
            moved.setdefault((tile.parent.parent, tile.name), []).append(photograph)
    chain, last = set(), {}
    for name in sorted(files):
        tile = files[name]
        own = [photographs[tile]] if tile in photographs else moved.get((tile.parent.parent, tile.name), [])
        for photograph in own:
            if photograph in last:
                chain.add((last[photograph], name))
            last[photograph] = name
    return chain


@functools.lru_cache
def read_tiles(listed: Path, changed: int) -> dict[Path, str]:
    """{tile: the name of its photograph}, by a tiles.csv that was last changed then. Warns once if it fits no image."""
    rows = read_csv(listed, ("file", "photograph"))
    tiles = {listed.parent / row["file"]: row["photograph"] for row in rows}
    if rows and not any(tile.is_file() for tile in tiles):
        print(f"warning: {listed} names no image of its folder ({rows[0]['file']!r} first): write each file with its "
              "ending, else these images count as of different photographs")
    return tiles


# ---- groups -----------------------------------------------------------------------------------------------------


def components(names: Iterable[str], pairs: Collection[Pair]) -> dict[str, str]:
    """{name: the first name of its group}: names are of one group if pairs connect them, be it through others."""
    names = sorted(names)
    place = {name: i for i, name in enumerate(names)}
    edges = np.array([(place[a], place[b]) for a, b in sorted(pairs)] or [(0, 0)])
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(names), len(names)))
    _, labels = connected_components(graph, directed=False)
    first: dict[int, str] = {}
    for name, label in zip(names, labels):
        first.setdefault(label, name)
    return {name: first[label] for name, label in zip(names, labels)}


def is_a_pattern(names: Collection[str], pairs: Collection[Pair]) -> bool:
    """Whether pairs join nearly all images of each class. What repeats in every piece looks like an overlap: the wires
    of solar cells, or a print. Only whoever has the pieces knows which it is, and says so by a random split."""
    groups = components(names, pairs)
    sizes = Counter((category_of(name), group) for name, group in groups.items())
    of_class = Counter(map(category_of, names))
    return all(max(n for (own, _), n in sizes.items() if own == category) > REPEATED * total > 1
               for category, total in of_class.items())


def progress_bar(label: str) -> Progress:
    """A bar that vanishes when it is full. There is none where the output is no terminal."""
    return lambda rows: tqdm(rows, unit="image", desc=label, leave=False, disable=None)
