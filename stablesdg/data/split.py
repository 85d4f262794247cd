"""Which images may be trained on: a stratified split that keeps images of one surface together, fixed in a manifest.

    python -m stablesdg.split neu              # -> runs/neu/split.json

    {"method": "group", "seed": 0, "ratios": [8, 1, 1],
     "files": {"Pa/Pa_1.jpg": {"sha256": .., "group": "Pa/Pa_1.jpg", "part": "train" | "val" | "test"}}}

A group is named after its first image and lies in one part. Images form a group if they overlap, are copies of each
other, or are tiles of one photograph (tiles.csv, which prepare writes), be it in one class or in two. A random split,
which is the paper's, looks for no overlap.

The manifest grows: a class that it does not know is dealt out when a script first meets it, and `extend_split` takes in
new images of a class that it knows. What lies in a part stays there.
"""
from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from ..storage.errors import UserError
from ..storage.files import read_json, sha256, write_json
from ..storage.lock import alone_at
from .deal import NewImages, deal
from .folders import list_images, name_of
from .links import FoundLinks
from .parts import LEFT_OUT, METHODS, PARTS, RATIOS, Split, SplitEntry, count
from .surfaces import category_of

SEEN = "train_sha256"  # metadata key of an adapter: which images it was trained on


# ---- the manifest -----------------------------------------------------------------------------------------------


def load_split(manifest: str | Path, categories: Iterable[str | Path], method: str | None = None, seed: int = 0,
               ratios: Sequence[float] = RATIOS, found: FoundLinks | None = None) -> Split:
    """Read the manifest, and extend it by those of the categories (folders) that it does not know yet.

    method  "group", "random", or None for whatever the manifest has, "group" if there is none
    found   what a comparison of all images has found before (default: new images are compared)

    Raises UserError if files have come, gone or changed since the split was made, if it is of another method, or if
    another run is changing it.
    """
    manifest, folders = Path(manifest), list(map(Path, categories))
    split, new = known_and_new(manifest, folders, method, seed, ratios)
    if not new:
        return split
    with alone_at(manifest):  # another run may have extended it in the meantime
        split, new = known_and_new(manifest, folders, method, seed, ratios)
        return write_extended(manifest, split, new, found=found) if new else split


def known_and_new(manifest: Path, categories: Iterable[Path], method: str | None, seed: int,
                  ratios: Sequence[float]) -> tuple[Split, list[NewImages]]:
    """(the split as the manifest has it, the categories that it does not know). Raises the errors of `load_split`."""
    split = Split(method=method or "group", seed=seed, ratios=list(ratios), files={})
    if manifest.is_file():
        split = read_split(manifest)
    if method and split["method"] != method:
        raise UserError(f"{manifest} is a {split['method']} split, not a {method} one: python -m stablesdg.split DATA "
                        f"--split {method} --replace makes it anew, and all that was trained on it must be trained "
                        "again.")
    new = []
    for folder in categories:
        files = named_files(folder)
        if any(category_of(name) == folder.resolve().name for name in split["files"]):
            require_unchanged(folder, files, split["files"], manifest)
        else:
            new.append(NewImages(folder, files))
    return split, new


def read_split(manifest: Path) -> Split:
    """Read a manifest. Raises UserError if it is none."""
    split = read_json(manifest)
    whole = (isinstance(split, dict) and split.get("method") in METHODS and is_seed(split.get("seed"))
             and isinstance(split.get("ratios"), list) and len(split["ratios"]) == len(PARTS)
             and all(isinstance(ratio, int | float) for ratio in split["ratios"])
             and isinstance(split.get("files"), dict) and all(map(is_entry, split["files"].items())))
    if not whole:
        raise UserError(f"{manifest} is no whole split: restore it, or delete it; a new one is made then, and all that "
                        "was trained on this one must be trained again.")
    return cast(Split, split)


def is_seed(value: object) -> bool:
    """Whether a generator of random numbers takes it."""
    return isinstance(value, int) and 0 <= value < 2**32


def is_entry(item: tuple[str, object]) -> bool:
    """Whether an item of a manifest's "files" is CATEGORY/FILE with a hash, a group and a part."""
    name, entry = item
    return ("/" in name and isinstance(entry, dict) and entry.get("part") in (*PARTS, LEFT_OUT)
            and all(isinstance(entry.get(key), str) for key in ("sha256", "group")))


def write_extended(manifest: Path, split: Split, new: Sequence[NewImages], to: str | None = None,
                   found: FoundLinks | None = None) -> Split:
    """Deal out new images and write the manifest that knows them. For `to`, see `deal`."""
    extended = Split(method=split["method"], seed=split["seed"], ratios=split["ratios"],
                     files={**split["files"], **deal(split, new, to, found)})
    write_json(manifest, extended)
    return extended


def extend_split(manifest: Path, categories: Iterable[Path], to: str = "train") -> Split:
    """Take new images of known categories (folders) into the part of their surface, or else into the part `to`.

    A category that is new as a whole is dealt out as always. Raises UserError if listed images have changed, or if
    another run is at work on the manifest.
    """
    with alone_at(manifest):
        return _extend(manifest, categories, to)


def _extend(manifest: Path, categories: Iterable[Path], to: str) -> Split:
    split, grown, new = read_split(manifest), [], []
    for folder in categories:
        category, files = folder.resolve().name, named_files(folder)
        known = {name for name in split["files"] if category_of(name) == category}
        require_unchanged(folder, {name: file for name, file in files.items() if name in known},
                          {name: split["files"][name] for name in known & set(files)}, manifest)
        fresh = NewImages(folder, {name: file for name, file in files.items() if name not in known})
        if fresh.files:
            (grown if known else new).append(fresh)
    if grown:
        split = write_extended(manifest, split, grown, to)
    return write_extended(manifest, split, new) if new else split


def forget_images(manifest: Path, data: Path) -> list[str]:
    """Take images out of the manifest whose files are gone from the data set's folder. Returns their names."""
    with alone_at(manifest):
        split = read_split(manifest)
        gone = gone_names(split, data)
        if len(gone) == len(split["files"]):
            raise UserError(f"{data} holds none of the images of {manifest}: is it the right folder?")
        if gone:
            write_json(manifest, {**split, "files": {n: e for n, e in split["files"].items() if n not in set(gone)}})
        return gone


def named_files(folder: Path) -> dict[str, Path]:
    """{CATEGORY/FILE: path} of a category's images, sorted by name."""
    return {name_of(file): file for file in list_images(folder)}


def require_unchanged(folder: Path, files: Mapping[str, Path], known: Mapping[str, SplitEntry], manifest: Path) -> None:
    """Raise UserError if images of a category came, went or changed since the split was made. It says what to do."""
    category, data = folder.resolve().name, folder.parent
    expected = {name for name in known if category_of(name) == category}
    faults = [
        (sorted(set(files) - expected), "not listed in", f"python -m stablesdg.split {data} --add takes new images in"),
        (sorted(expected - set(files)), "gone, but listed in",
         f"restore them, or python -m stablesdg.split {data} --forget takes them out"),
        ([name for name in files if name in expected and sha256(files[name]) != known[name]["sha256"]],
         "changed since they were listed in",
         f"restore them, or python -m stablesdg.split {data} --replace makes the split anew, and all that was trained "
         "on it must be trained again")]
    said = [f"{count(len(names), 'image')} of {category} ({names[0]} first) {what} {manifest}: {advice}"
            for names, what, advice in faults if names]
    if said:
        raise UserError("; ".join(said) + ".")


def gone_names(split: Split, data: Path) -> list[str]:
    """The names of the manifest whose files are gone from the data set's folder."""
    return sorted(name for name in split["files"] if not (data / name).is_file())


def part_files(split: Split, folder: str | Path, part: str) -> list[Path]:
    """The files of one part of one category, sorted by name."""
    return [file for name, file in named_files(Path(folder)).items() if split["files"][name]["part"] == part]


def surfaces_of(split: Split, files: Iterable[Path]) -> list[str]:
    """The surface that each image shows, by the name of its group. A random split knows copies of files only."""
    return [split["files"][name_of(file)]["group"] for file in files]


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
