"""Which images may be trained on: a stratified split that keeps images of one surface together, fixed in a manifest.

    python -m stablesdg.split neu              # -> runs/neu/split.json

    {"method": "group", "seed": 0, "ratios": [8, 1, 1],
     "files": {"Pa/Pa_1.jpg": {"sha256": .., "group": "Pa/Pa_1.jpg", "part": "train" | "val" | "test"}}}

A group is named after its first image and lies in one part. Images form a group if they overlap, are copies of each
other, or are tiles of one photograph (tiles.csv, which prepare writes). A random split, which is the paper's, looks for
no overlap.
"""
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from ..storage.errors import UserError
from ..storage.files import read_csv, read_json, sha256, write_json
from .folders import list_images
from .overlap import Progress, find_copies, find_overlaps, no_progress, read_alike

PARTS = ("train", "val", "test")
RATIOS = (8, 1, 1)
METHODS = ("group", "random")
SEEN = "train_sha256"  # metadata key of an adapter: which images it was trained on
LEAST_FOR_THREE_PARTS = 3  # images, or groups: with as many, no part is empty


class SplitEntry(TypedDict):
    """What the manifest says of one image."""
    sha256: str
    group: str  # the name of its first image
    part: str  # "train", "val" or "test"


class Split(TypedDict):
    """The manifest, as it lies in split.json."""
    method: str  # "group" or "random"
    seed: int
    ratios: list[float]
    files: dict[str, SplitEntry]  # by name, CATEGORY/FILE


# ---- images to groups, groups to parts --------------------------------------------------------------------------


def find_groups(files: Mapping[str, Path],
                progress: Progress = no_progress) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """({name: group}, pairs of names that overlap) of {name: path}.

    Images are of one group if overlaps, copies or tiles.csv connect them, be it through other images.
    """
    names = sorted(files)
    grays, pairs = {}, set()
    for alike in read_alike([files[name] for name in names]):
        pairs |= {(alike.indices[o.i], alike.indices[o.j]) for o in find_overlaps(alike.images, progress=progress)}
        grays |= dict(zip(alike.indices, alike.images))
    pairs |= set(find_copies([grays[i] for i in range(len(names))]))
    edges = np.array(sorted(pairs | same_photograph(files, names)) or [(0, 0)])
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(names), len(names)))
    _, labels = connected_components(graph, directed=False)
    first: dict[int, str] = {}
    for name, label in zip(names, labels):
        first.setdefault(label, name)
    return {name: first[label] for name, label in zip(names, labels)}, [(names[i], names[j]) for i, j in sorted(pairs)]


def same_photograph(files: Mapping[str, Path], names: Sequence[str]) -> set[tuple[int, int]]:
    """{(i, j), ..}: a chain through the tiles of each photograph, as places in `names`."""
    photographs = {}
    for folder in {path.parent for path in files.values()}:
        if (folder / "tiles.csv").is_file():
            photographs |= {folder / row["file"]: row["photograph"] for row in read_csv(folder / "tiles.csv")}
    chain, last = set(), {}
    for i, name in enumerate(names):
        photograph = photographs.get(files[name])
        if photograph is not None:
            if photograph in last:
                chain.add((last[photograph], i))
            last[photograph] = i
    return chain


def random_parts(names: Iterable[str], seed: int, ratios: Sequence[float] = RATIOS) -> dict[str, str]:
    """{name: part}. Depends on the names and the seed alone. From three images on, no part is empty."""
    return group_parts({name: name for name in names}, seed, ratios)


def group_parts(groups: Mapping[str, str], seed: int, ratios: Sequence[float] = RATIOS) -> dict[str, str]:
    """{name: part} for {name: group}. Each group lies in one part; each part is as near to its share as groups allow.

    In random order, a group goes to the part that lacks most of its share and has room for it, else to the training
    part. A part that stays empty gets the smallest group of the training part, as long as there are three groups.
    """
    members: dict[str, list[str]] = {}
    for name in sorted(groups):
        members.setdefault(groups[name], []).append(name)
    order = sorted(members)
    random.Random(f"{seed} {'|'.join(sorted(groups))}").shuffle(order)
    shares = {part: round(len(groups) * ratio / sum(ratios)) for part, ratio in zip(PARTS[1:], ratios[1:])}
    if len(groups) >= LEAST_FOR_THREE_PARTS:
        shares = {part: max(1, share) for part, share in shares.items()}
    room = dict(shares)
    part_of: dict[str, str] = {}  # by group
    for group in order:
        fitting = [part for part in room if room[part] >= len(members[group])]
        part = max(fitting, key=lambda part: (room[part] / shares[part], part == "val"), default="train")
        if part != "train":
            room[part] -= len(members[group])
        part_of[group] = part
    for part in room:
        training = [group for group in order if part_of[group] == "train"]
        if part not in part_of.values() and len(members) >= LEAST_FOR_THREE_PARTS and len(training) > 1:
            part_of[min(training, key=lambda group: len(members[group]))] = part
    return {name: part_of[group] for group in order for name in members[group]}


# ---- the manifest -----------------------------------------------------------------------------------------------


def load_split(manifest: str | Path, categories: Iterable[str | Path], method: str | None = None, seed: int = 0,
               ratios: Sequence[float] = RATIOS) -> Split:
    """Read the manifest, and extend it by those of the categories (folders) that it does not know yet.

    method  "group", "random", or None for whatever the manifest has, "group" if there is none

    Raises UserError if files have come, gone or changed since the split was made, or if it is of another method.
    """
    manifest = Path(manifest)
    split = Split(method=method or "group", seed=seed, ratios=list(ratios), files={})
    if manifest.is_file():
        split = read_json(manifest)
    if method and split["method"] != method:
        raise UserError(f"{manifest} is a {split['method']} split, not a {method} one: python -m stablesdg.split DATA "
                        f"--split {method} --replace makes it anew, and all that was trained on it must be trained "
                        "again.")
    new = {}
    for folder in map(Path, categories):
        known = {**split["files"], **new}
        files = named_files(folder)
        if any(name.startswith(f"{folder.resolve().name}/") for name in known):
            require_unchanged(folder, files, known, manifest)
        else:
            new |= split_category(folder.resolve().name, files, split, known)
    if new:
        split = Split(method=split["method"], seed=split["seed"], ratios=split["ratios"],
                      files={**split["files"], **new})
        write_json(manifest, split)
    return split


def named_files(folder: Path) -> dict[str, Path]:
    """{CATEGORY/FILE: path} of a category's images, sorted by name."""
    return {f"{folder.resolve().name}/{file.name}": file for file in list_images(folder)}


def split_category(category: str, files: Mapping[str, Path], split: Split,
                   known: Mapping[str, SplitEntry]) -> dict[str, SplitEntry]:
    """Entries of a category that is new to the split. Says how many images each part has.

    Raises UserError if a picture of the category stands among the `known` entries of other categories, in another part.
    """
    digests = {name: sha256(file) for name, file in files.items()}
    if split["method"] == "group":
        groups, _ = find_groups(files, progress_bar(f"overlaps in {category}"))
    else:
        first = {digest: name for name, digest in reversed(digests.items())}
        groups = {name: first[digest] for name, digest in digests.items()}  # copies of one file stay together
    parts = group_parts(groups, split["seed"], split["ratios"])
    others = {entry["sha256"]: name for name, entry in known.items()}
    for name, digest in digests.items():
        if digest in others and known[others[digest]]["part"] != parts[name]:
            raise UserError(f"{name} and {others[digest]} are one picture in two classes, and would lie in two parts "
                            "of the split: keep it in one class.")
    surfaces = len(set(groups.values()))
    print(f"split of {category}: " + ", ".join(f"{list(parts.values()).count(part)} {part}" for part in PARTS)
          + (f"; {count(surfaces, 'group')} of images that share surface" if surfaces < len(groups) else ""))
    if empty := [part for part in PARTS if part not in parts.values()]:
        print(f"warning: {category} has no {' and no '.join(empty)} images, because its {len(files)} images show "
              f"{count(surfaces, 'surface')}; --split random deals them out all the same")
    return {name: SplitEntry(sha256=digests[name], group=groups[name], part=parts[name]) for name in files}


def progress_bar(label: str) -> Progress:
    """A bar that vanishes when it is full."""
    return lambda rows: tqdm(rows, unit="image", desc=label, leave=False)


def require_unchanged(folder: Path, files: Mapping[str, Path], known: Mapping[str, SplitEntry], manifest: Path) -> None:
    """Raise UserError if images of a category came, went or changed since the split was made."""
    category = folder.resolve().name
    expected = {name for name in known if name.startswith(f"{category}/")}
    strange = sorted(expected ^ set(files)) or [n for n in files if sha256(files[n]) != known[n]["sha256"]]
    if strange:
        raise UserError(f"{count(len(strange), 'image')} of {category} came, went or changed since {manifest} was "
                        f"made, {strange[0]} first: restore them, or python -m stablesdg.split {folder.parent} "
                        "--replace makes it anew, and all that was trained on it must be trained again.")


def part_files(split: Split, folder: str | Path, part: str) -> list[Path]:
    """The files of one part of one category, sorted by name."""
    return [file for name, file in named_files(Path(folder)).items() if split["files"][name]["part"] == part]


# ---- leaks ------------------------------------------------------------------------------------------------------


def kept_out(digests: Collection[str], split: Split) -> list[tuple[str, str]]:
    """[(name, part), ..]: images with one of these sha256 that are in the validation or test part."""
    others = {entry["sha256"]: (name, entry["part"]) for name, entry in split["files"].items()
              if entry["part"] != "train"}
    return sorted(others[digest] for digest in set(digests) & set(others))


def refuse_leak(seen: Collection[str], split: Split, what: str) -> None:
    """Raise UserError if `what` was made from an image that is kept out of training. `seen` holds sha256 of images."""
    if leaked := kept_out(seen, split):
        raise UserError(f"{what} saw {leaked[0][0]}, which is in the {leaked[0][1]} part of the split "
                        f"({count(len(leaked), 'such image')}): train and generate again with this split.")


def count(n: int, noun: str) -> str:
    """"1 image", "2 images"."""
    return f"{n} {noun}" + "s" * (n != 1)
