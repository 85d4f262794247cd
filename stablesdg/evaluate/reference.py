"""Which real images generated ones are compared with.

A generator that copies its training images scores best against just these. So where a category has a split, the
reference is what was held out of training.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.folders import list_images, name_of
from ..data.parts import Split
from ..data.split import named_files, part_files, read_split, require_unchanged
from ..data.surfaces import category_of
from ..storage.errors import UserError
from ..storage.files import read_csv, read_optional_json, sha256

REFERENCES = {"all": ("train", "val", "test"), "train": ("train",), "held-out": ("val", "test")}  # parts of the split
WHERE = {"all": "in any part", "train": "in the training part", "held-out": "in the validation and test part"}
LEAST_HELD_OUT = 20  # images; a covariance of fewer says little


@dataclass(frozen=True)
class Reference:
    """Real images, and how they were chosen."""
    files: list[Path]
    kind: str  # "all", "train" or "held-out"
    said: str  # for a person


def choose_reference(folder: Path, manifest: Path, kind: str | None) -> Reference:
    """The real images of a folder that generated ones are compared with.

    manifest  split.json of the data set, which need not exist
    kind      "all", "train", "held-out", or None: held-out if the folder has a split with enough of them, else all

    What the split leaves out of all parts is never among them. Raises UserError if a part is asked for and there is no
    split, or if files differ from the split.
    """
    files, split = list_images(folder), split_of(folder, manifest)
    if split is None:
        if kind in ("train", "held-out"):
            raise UserError(f"--reference {kind} needs a split, and {manifest} knows no {folder}: python -m "
                            f"stablesdg.split {folder.parent} makes one.")
        return Reference(files, "all", f"all {len(files)} images of {folder}, which has no split")
    parts = {name: [file for part in wanted for file in part_files(split, folder, part)]
             for name, wanted in REFERENCES.items()}
    held_out, why = len(parts["held-out"]), ""
    if kind is None:
        kind = "held-out" if held_out >= LEAST_HELD_OUT else "all"
        why = f", because the {held_out} held out are too few" if kind == "all" else ""
    said = f"{len(parts[kind])} of the {len(files)} images of {folder}, those {WHERE[kind]}{why}"
    return Reference(sorted(parts[kind]), kind, said)


def split_of(folder: Path, manifest: Path) -> Split | None:
    """The split that knows the folder as a category, or None. Raises UserError if its files have changed since."""
    if not manifest.is_file():
        return None
    split = read_split(manifest)
    if not any(category_of(name) == folder.resolve().name for name in split["files"]):
        return None
    require_unchanged(folder, named_files(folder), split["files"], manifest)
    return split


def known_to_generator(reference: Sequence[Path], generated: Path) -> list[Path]:
    """Images of the reference that generated ones were made from, or whose generator was trained on.

    generated  their folder; manifest.csv names the sources, settings.json ("seen") hashes of what the adapters saw
    """
    rows = read_csv(generated / "manifest.csv") if (generated / "manifest.csv").is_file() else []
    sources = {row.get("source") for row in rows}
    seen = set(read_optional_json(generated / "settings.json").get("seen", []))
    return [file for file in reference if name_of(file) in sources or (seen and sha256(file) in seen)]
