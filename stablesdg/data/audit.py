"""The audit of a data set: which images share surface, do given parts leak, what would a hash have found of it?"""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .descriptor import bits_apart, count_near_pairs
from .folders import list_categories, list_images
from .inventory import Inventory, take_inventory
from .leaks import leaked_by_photograph, leaked_names
from .links import FoundLinks, find_or_read, is_across, overlaps_to_show
from .parts import PARTS
from .split import load_split, named_files
from .surfaces import (
    NamedOverlap,
    Pair,
    category_of,
    components,
    in_order,
    is_a_pattern,
    progress_bar,
    same_photograph,
)

HASH_LIMITS = (0, 5, 10)  # bits of 64 that tools for near-duplicates let differ
PATTERN = ("Nearly all images of each class look like parts of one surface. Their split is random, so this is taken "
           "for a pattern that repeats in different pieces, and each image for a surface of its own.")

ClassFiles = Mapping[str, Mapping[str, Path]]  # by class, then by name CATEGORY/FILE


@dataclass(frozen=True)
class HashLimit:
    """What a 64-bit hash calls near-duplicates, if so many bits may differ."""
    bits: int
    linked: int  # of the linked pairs
    others: int  # pairs that share no surface that the search finds


@dataclass(frozen=True)
class ClassAudit:
    """One class."""
    images: int
    surfaces: int
    largest: int  # images of one surface
    pairs: int  # linked within the class
    parts: dict[str, int]  # images of each part
    part_surfaces: dict[str, int]  # surfaces of each part
    leaked: int  # images outside the training part that share surface with one inside it


@dataclass(frozen=True)
class Audit:
    """All that is known of a data set before anything is trained."""
    data: str
    method: str  # of the split: "group" or "random"; "folders" where the parts are folders
    parts: dict[str, str]  # name -> part
    groups: dict[str, str]  # name -> surface
    inventory: Inventory
    classes: dict[str, ClassAudit]
    links: FoundLinks
    pairs_across: int  # linked pairs of two classes
    leaked: list[str]  # names of images outside the training part that share surface with one inside it
    hash: list[HashLimit]
    files: dict[str, Path]
    shown: dict[str, list[NamedOverlap]]  # for pictures, by class

    def names(self, *parts: str) -> list[str]:
        """The images of some parts, sorted."""
        return sorted(name for name, part in self.parts.items() if part in parts)

    def surface_sizes(self, part: str) -> list[int]:
        """How many images of a part each of its surfaces has."""
        return list(Counter(self.groups[name] for name in self.names(part)).values())

    def as_json(self) -> dict[str, Any]:
        """The figures."""
        return {"data": self.data, "method": self.method, "images": len(self.files),
                "surfaces": len(set(self.groups.values())), "pairs": len(self.links.pairs),
                "pairs_across": self.pairs_across, "not_compared": self.links.not_compared,
                "classes": {k: asdict(self.inventory.classes[k]) | asdict(own) for k, own in self.classes.items()},
                "notes": self.inventory.notes, "leaked": self.leaked, "hash": [asdict(limit) for limit in self.hash]}


def audit_split(data: Path, manifest: Path, kept: Path) -> Audit:
    """Audit a data set and its split. Without a split, the one that all scripts would make is made and written.

    manifest  split.json
    kept      links.json, where what is found is kept

    Raises UserError if files cannot be read, or are not those of the split.
    """
    categories = list_categories(data)
    classes = {folder.resolve().name: named_files(folder) for folder in categories}
    if manifest.is_file():
        load_split(manifest, categories)  # the files are those of the split
    inventory = take_inventory(classes, progress_bar("files"))
    files = all_files(classes)
    links = find_or_read(files, kept)
    split = load_split(manifest, categories, found=links)
    own = {name: split["files"][name] for name in files}
    first: dict[str, str] = {}  # of each group: the image that names it may be gone
    chains = {in_order(first.setdefault(entry["group"], name), name) for name, entry in sorted(own.items())}
    parts = {name: entry["part"] for name, entry in own.items()}
    return put_together(data, split["method"], parts, chains, classes, inventory, links)


def audit_folders(data: Path, parts: Sequence[str], kept: Path) -> Audit:
    """Audit parts that are folders: DATA/PART/CLASS. The first is the training part; the last is the test part.

    Raises UserError if files cannot be read or folders are missing.
    """
    names = {2: ("train", "test"), 3: PARTS}[len(parts)]
    classes: dict[str, dict[str, Path]] = {}
    part_of = {}
    for part, where in zip(names, parts):
        for folder in list_categories(data / where):
            for file in list_images(folder):
                name = f"{folder.name}/{where}/{file.name}"
                classes.setdefault(folder.name, {})[name] = file
                part_of[name] = part
    inventory = take_inventory(classes, progress_bar("files"))
    links = find_or_read(all_files(classes), kept)
    return put_together(data, "folders", part_of, set(), classes, inventory, links)


def put_together(data: Path, method: str, parts: dict[str, str], chains: set[Pair], classes: ClassFiles,
                 inventory: Inventory, links: FoundLinks) -> Audit:
    """Count what was found."""
    files = all_files(classes)
    photographs = same_photograph(files)
    if method == "random" and is_a_pattern(files, links.pairs):
        inventory = replace(inventory, notes=[*inventory.notes, PATTERN])
        links = FoundLinks([], [], links.not_compared)
    groups = components(files, links.pairs | photographs | chains)
    leaked = leaked_names(links.pairs, parts) | leaked_by_photograph(parts, components(files, photographs))
    across = set(filter(is_across, links.pairs))
    counted = {}
    for k, own in classes.items():
        sizes = Counter(groups[name] for name in own)
        counted[k] = ClassAudit(
            len(own), len(sizes), max(sizes.values()),
            sum(category_of(a) == k for a, _ in links.pairs - across),
            {part: sum(parts[name] == part for name in own) for part in PARTS},
            {part: len({groups[name] for name in own if parts[name] == part}) for part in PARTS},
            sum(category_of(name) == k for name in leaked))
    return Audit(str(data), method, parts, groups, inventory, counted, links, len(across), sorted(leaked),
                 compare_with_hash(inventory, links), files, overlaps_to_show(links, files))


def all_files(classes: ClassFiles) -> dict[str, Path]:
    """{name: path} of all classes."""
    return {name: path for own in classes.values() for name, path in own.items()}


# ---- what is said of it -----------------------------------------------------------------------------------------


def compare_with_hash(inventory: Inventory, links: FoundLinks) -> list[HashLimit]:
    """What a perceptual hash would have found, at some limits."""
    place = {name: i for i, name in enumerate(inventory.files)}
    hashes = np.stack([facts.hash for facts in inventory.files.values()])
    apart = bits_apart(hashes, [(place[a], place[b]) for a, b in sorted(links.pairs)])
    linked = [int((apart <= limit).sum()) for limit in HASH_LIMITS]
    return [HashLimit(limit, own, near - own)
            for limit, own, near in zip(HASH_LIMITS, linked, count_near_pairs(hashes, HASH_LIMITS))]
