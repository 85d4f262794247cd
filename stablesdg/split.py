"""Which images may be trained on: a stratified split, kept in a manifest beside the runs.

runs/neu/split.json
    {"method": "random", "seed": 0, "ratios": [8, 1, 1],
     "files": {"Pa/Pa_1.jpg": {"sha256": .., "group": "Pa/Pa_1.jpg", "part": "train" | "val" | "test"}}}

Images of one group share pixels and stay in one part; a random split gives each image a group of its own.
"""
import random
from pathlib import Path

from .data import list_images
from .files import UserError, read_json, sha256, write_json

PARTS = ("train", "val", "test")
RATIOS = (8, 1, 1)


def random_parts(names, seed, ratios=RATIOS):
    """{name: part}. Depends on the names and the seed alone. From three images on, no part is empty."""
    shuffled = sorted(names)
    random.Random(f"{seed} {'|'.join(shuffled)}").shuffle(shuffled)
    held_out = [round(len(shuffled) * ratio / sum(ratios)) for ratio in ratios[1:]]
    if len(shuffled) >= 3:
        held_out = [max(1, count) for count in held_out]
    val, test = held_out
    parts = ["val"] * val + ["test"] * test
    return dict(zip(shuffled, parts + ["train"] * (len(shuffled) - len(parts))))


def load_split(manifest, categories, seed=0):
    """The manifest at the path `manifest`, extended by categories (folders) that it does not know yet.

    Raises UserError where files have come, gone or changed since the split was made.
    """
    manifest = Path(manifest)
    split = read_json(manifest) if manifest.is_file() else {"method": "random", "seed": seed, "ratios": list(RATIOS),
                                                           "files": {}}
    changed = False
    for folder in map(Path, categories):
        category = folder.resolve().name
        files = {f"{category}/{file.name}": file for file in list_images(folder)}
        known = {name for name in split["files"] if name.startswith(category + "/")}
        if not known:
            parts = random_parts(files, split["seed"], split["ratios"])
            split["files"].update({name: {"sha256": sha256(file), "group": name, "part": parts[name]}
                                   for name, file in files.items()})
            changed = True
        elif strange := sorted(known ^ set(files)) or [n for n in files if sha256(files[n]) != split["files"][n]["sha256"]]:
            raise UserError(f"{len(strange)} images came, went or changed since {manifest} was made, {strange[0]} first: "
                            "restore them, or delete the manifest and start over.")
    if changed:
        write_json(manifest, split)
    return split


def part_files(split, folder, part):
    """The files of one part of one category, sorted by name."""
    category = Path(folder).resolve().name
    return [file for file in list_images(folder) if split["files"][f"{category}/{file.name}"]["part"] == part]
