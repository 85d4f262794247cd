"""How far a split leaks: images outside the training part that show surface which lies in it."""
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ..storage.errors import UserError
from .overlap import find_overlaps, read_alike
from .split import PARTS, Split, find_groups, named_files, progress_bar

TESTED_PARTS = PARTS[1:]


@dataclass(frozen=True)
class CategoryLeak:
    """One category of a split."""
    images: int
    groups: int
    largest_group: int  # images
    pairs: int  # of images that overlap
    false_pairs: int  # found after mirroring, when no true pair is left
    sizes: dict[str, int]  # images of each part outside training
    leaked: dict[str, int]  # those of them that share surface with a training image


def measure_leak(split: Split, folder: Path) -> CategoryLeak:
    """Search one category for overlaps, whatever method its split was made by.

    Raises UserError if the split does not know one of the images.
    """
    files = named_files(folder)
    if missing := [name for name in files if name not in split["files"]]:
        raise UserError(f"{missing[0]} is not in the manifest: make the split anew.")
    groups, pairs = find_groups(files, progress_bar(folder.name))
    false = [overlap for alike in read_alike([files[name] for name in sorted(files)])
             for overlap in find_overlaps(alike.images, mirrored=True, progress=progress_bar("mirrored"))]
    part = {name: split["files"][name]["part"] for name in files}
    leaked = {name for a, b in pairs for name, other in ((a, b), (b, a)) if part[name] != "train" == part[other]}
    return CategoryLeak(
        images=len(files), groups=len(set(groups.values())), largest_group=max(Counter(groups.values()).values()),
        pairs=len(pairs), false_pairs=len(false),
        sizes={p: list(part.values()).count(p) for p in TESTED_PARTS},
        leaked={p: sum(part[name] == p for name in leaked) for p in TESTED_PARTS})
