"""The audit of a data set: which images share surface, do given parts leak, what would a hash have found of it?

What it finds is kept in links.json, and is taken from there as long as no file changes.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..storage.files import read_optional_json, sha256, write_json
from ..storage.lock import alone_at
from .deal import join_groups
from .descriptor import bits_apart, count_near_pairs
from .folders import list_categories, list_images
from .inventory import Inventory, take_inventory
from .leaks import leaked_names
from .parts import PARTS, RATIOS, Split, SplitEntry, group_parts
from .split import load_split, named_files
from .surfaces import (
    NamedOverlap,
    Pair,
    Progress,
    category_of,
    components,
    find_links,
    find_links_across,
    in_order,
    progress_bar,
    same_photograph,
)

SEARCH = 1  # one more whenever the search for overlaps finds something else
HASH_LIMITS = (0, 5, 10)  # bits of 64 that tools for near-duplicates let differ
PAIRS_SHOWN = 6  # of a class, in a picture

ClassFiles = Mapping[str, Mapping[str, Path]]  # by class, then by name CATEGORY/FILE
Bar = Callable[[str], Progress]  # label -> what wraps a loop


@dataclass(frozen=True)
class LinkedPair:
    """Two images that overlap."""
    first: str
    second: str
    share: float  # of the smaller image's area that is common
    correlation: float  # of the common pixels


@dataclass(frozen=True)
class FoundLinks:
    """What the search found. It is kept in links.json."""
    overlaps: list[LinkedPair]
    copies: list[Pair]  # one picture twice, be it mirrored or turned
    not_compared: int  # pairs whose sides differ more than twofold

    @property
    def pairs(self) -> set[Pair]:
        """All pairs that share surface."""
        return {in_order(o.first, o.second) for o in self.overlaps} | set(self.copies)


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
    shown: dict[str, list[NamedOverlap]]  # for pictures, by class; empty where the links were found before

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


def audit_split(data: Path, manifest: Path, kept: Path, bar: Bar = progress_bar) -> Audit:
    """Audit a data set and its split. Without a split, the one that all scripts would make is made and written.

    manifest  split.json
    kept      links.json, where what is found is kept

    Raises UserError if files cannot be read, or are not those of the split.
    """
    categories = list_categories(data)
    classes = {folder.resolve().name: named_files(folder) for folder in categories}
    if manifest.is_file():
        load_split(manifest, categories)  # the files are those of the split
    inventory = take_inventory(classes, bar("files"))
    links, shown = find_or_read(classes, kept, bar)
    files = all_files(classes)
    split = load_split(manifest, categories) if manifest.is_file() else make_split(manifest, classes, links)
    own = {name: split["files"][name] for name in files}
    chains = {in_order(entry["group"], name) for name, entry in own.items() if entry["group"] in own}
    parts = {name: entry["part"] for name, entry in own.items()}
    return put_together(data, split["method"], parts, chains, classes, inventory, links, shown)


def audit_folders(data: Path, parts: Sequence[str], kept: Path, bar: Bar = progress_bar) -> Audit:
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
    inventory = take_inventory(classes, bar("files"))
    links, shown = find_or_read(classes, kept, bar)
    return put_together(data, "folders", part_of, set(), classes, inventory, links, shown)


def put_together(data: Path, method: str, parts: dict[str, str], chains: set[Pair], classes: ClassFiles,
                 inventory: Inventory, links: FoundLinks, shown: dict[str, list[NamedOverlap]]) -> Audit:
    """Count what was found."""
    files = all_files(classes)
    photographs = same_photograph(files)
    groups = components(files, links.pairs | photographs | chains)
    leaked = find_leaked(parts, links.pairs, components(files, photographs))
    across = {pair for pair in links.pairs if category_of(pair[0]) != category_of(pair[1])}
    counted = {}
    for k, own in classes.items():
        sizes = Counter(groups[name] for name in own)
        counted[k] = ClassAudit(
            len(own), len(sizes), max(sizes.values()),
            sum(category_of(a) == k for a, _ in links.pairs - across),
            {part: sum(parts[name] == part for name in own) for part in PARTS},
            {part: len({groups[name] for name in own if parts[name] == part}) for part in PARTS},
            sum(category_of(name) == k for name in leaked))
    return Audit(str(data), method, parts, groups, inventory, counted, links, len(across), leaked,
                 compare_with_hash(inventory, links), files, shown)


def all_files(classes: ClassFiles) -> dict[str, Path]:
    """{name: path} of all classes."""
    return {name: path for own in classes.values() for name, path in own.items()}


# ---- the search -------------------------------------------------------------------------------------------------


def find_or_read(classes: ClassFiles, kept: Path, bar: Bar) -> tuple[FoundLinks, dict[str, list[NamedOverlap]]]:
    """Compare all images, or read what was found before among the same files."""
    digests = {name: sha256(path) for name, path in sorted(all_files(classes).items())}
    before = read_optional_json(kept)
    if (before.get("search"), before.get("files")) == (SEARCH, digests):
        return FoundLinks([LinkedPair(**pair) for pair in before["overlaps"]],
                          [in_order(*pair) for pair in before["copies"]], before["not_compared"]), {}
    found = {k: find_links(own, bar(f"overlaps in {k}")) for k, own in classes.items()}
    if len(classes) > 1:
        found["across"] = find_links_across(all_files(classes), bar("overlaps across classes"))
    links = FoundLinks([LinkedPair(o.first, o.second, round(o.overlap.share, 4), round(o.overlap.correlation, 4))
                        for some in found.values() for o in some.overlaps],
                       sorted({pair for some in found.values() for pair in some.copies}),
                       sum(some.not_compared for some in found.values()))
    write_json(kept, {"search": SEARCH, "files": digests, **asdict(links)})
    return links, {k: choose_shown(some.overlaps) for k, some in found.items() if some.overlaps}


def choose_shown(overlaps: Sequence[NamedOverlap]) -> list[NamedOverlap]:
    """A few pairs, from the one with least in common to the one with most."""
    ordered = sorted(overlaps, key=lambda o: o.overlap.share)
    places = np.linspace(0, len(ordered) - 1, min(PAIRS_SHOWN, len(ordered))).round().astype(int)
    return [ordered[i] for i in places]


def compare_with_hash(inventory: Inventory, links: FoundLinks) -> list[HashLimit]:
    """What a perceptual hash would have found, at some limits."""
    place = {name: i for i, name in enumerate(inventory.files)}
    hashes = np.stack([facts.hash for facts in inventory.files.values()])
    apart = bits_apart(hashes, [(place[a], place[b]) for a, b in sorted(links.pairs)])
    linked = [int((apart <= limit).sum()) for limit in HASH_LIMITS]
    return [HashLimit(limit, own, near - own)
            for limit, own, near in zip(HASH_LIMITS, linked, count_near_pairs(hashes, HASH_LIMITS))]


# ---- parts ------------------------------------------------------------------------------------------------------


def make_split(manifest: Path, classes: ClassFiles, links: FoundLinks, seed: int = 0) -> Split:
    """Write the split that `load_split` would make, from links that are known already.

    If another run has made one in the meantime, that one stays. Raises UserError if one is at work on it.
    """
    with alone_at(manifest):
        if not manifest.is_file():
            split = deal_links(classes, links, seed)
            write_json(manifest, split)
            return split
    return load_split(manifest, [next(iter(own.values())).parent for own in classes.values()])


def deal_links(classes: ClassFiles, links: FoundLinks, seed: int) -> Split:
    """Deal out all images, those that share surface into one part."""
    files = all_files(classes)
    split = Split(method="group", seed=seed, ratios=list(RATIOS), files={})
    across = {pair for pair in links.pairs if category_of(pair[0]) != category_of(pair[1])}
    photographs = {pair for own in classes.values() for pair in same_photograph(own)}
    groups = join_groups(split, files, (links.pairs - across) | photographs, across).groups
    fixed = dict[str, str]()
    for own in classes.values():
        parts = group_parts({name: groups[name] for name in own}, seed, RATIOS, fixed)
        fixed |= {groups[name]: part for name, part in parts.items()}
        split["files"].update({name: SplitEntry(sha256=sha256(path), group=groups[name], part=parts[name])
                               for name, path in own.items()})
    return split


def find_leaked(parts: Mapping[str, str], pairs: Collection[Pair], photograph: Mapping[str, str]) -> list[str]:
    """Names outside the training part that are linked with one inside it, or come from the photograph of one inside."""
    entries = {name: SplitEntry(sha256="", group="", part=part) for name, part in parts.items()}
    by_pairs = leaked_names(pairs, Split(method="", seed=0, ratios=[], files=entries))
    trained = {photograph[name] for name, part in parts.items() if part == "train"}
    return sorted(by_pairs | {name for name, part in parts.items() if part != "train" and photograph[name] in trained})

