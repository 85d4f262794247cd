"""Which images may be trained on: a stratified split that keeps images of one surface together, as a manifest.

    python -m stablesdg.split neu              # -> runs/neu/split.json; --check only reports the leak of one that exists

    {"method": "group", "seed": 0, "ratios": [8, 1, 1],
     "files": {"Pa/Pa_1.jpg": {"sha256": .., "group": "Pa/Pa_1.jpg", "part": "train" | "val" | "test"}}}

Images that overlap, copies of each other and tiles of one photograph (tiles.csv, which prepare.py writes) form a group,
named after its first image; a group lies in one part. A random split, the paper's, looks for no overlap.
"""
import random
from pathlib import Path

from ..storage.errors import UserError
from ..storage.files import read_csv, read_json, sha256, write_json
from .folders import list_images

PARTS = ("train", "val", "test")
RATIOS = (8, 1, 1)
METHODS = ("group", "random")
SEEN = "train_sha256"  # metadata key of an adapter: which images it was trained on


def random_parts(names, seed, ratios=RATIOS):
    """{name: part}. Depends on the names and the seed alone. From three images on, no part is empty."""
    return group_parts({name: name for name in names}, seed, ratios)


def group_parts(groups, seed, ratios=RATIOS):
    """{name: part} for {name: group}, each group in one part, each part as near to its share as the groups allow.

    In random order, a group goes to the part that lacks most of its share and has room for it, else to the training part.
    A part that no group had room in gets the smallest of the training part, as long as there are three groups.
    """
    members = {}
    for name in sorted(groups):
        members.setdefault(groups[name], []).append(name)
    order = sorted(members)
    random.Random(f"{seed} {'|'.join(sorted(groups))}").shuffle(order)
    n = len(groups)
    room = {part: round(n * ratio / sum(ratios)) for part, ratio in zip(PARTS[1:], ratios[1:])}
    if n >= 3:
        room = {part: max(1, count) for part, count in room.items()}
    shares = dict(room)
    parts = {}
    for group in order:
        fitting = [part for part in room if room[part] >= len(members[group])]
        part = max(fitting, key=lambda part: (room[part] / shares[part], part == "val"), default="train")
        if part != "train":
            room[part] -= len(members[group])
        parts |= {name: part for name in members[group]}
    for part in room:
        training = [group for group in order if parts[members[group][0]] == "train"]
        if part not in parts.values() and len(members) >= 3 and len(training) > 1:
            parts |= {name: part for name in members[min(training, key=lambda group: len(members[group]))]}
    return parts


def find_groups(files, progress=lambda pairs: pairs):
    """({name: group}, pairs that overlap) of {name: path}: connected by overlap, by being copies, or by tiles.csv."""
    import numpy as np
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    from .overlap import find_copies, find_overlaps, read_alike

    names, images, pairs = sorted(files), {}, set()
    for indices, alike in read_alike([files[name] for name in names]):
        pairs |= {(indices[o.i], indices[o.j]) for o in find_overlaps(alike, progress=progress)}
        images |= dict(zip(indices, alike))
    pairs |= set(find_copies([images[i] for i in range(len(names))]))
    tiles = same_photograph(files, names)
    edges = np.array(sorted(pairs | tiles) or [(0, 0)])
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(names), len(names)))
    labels = connected_components(graph, directed=False)[1]
    first = {}
    for name, label in zip(names, labels):
        first.setdefault(label, name)
    return {name: first[label] for name, label in zip(names, labels)}, [(names[i], names[j]) for i, j in sorted(pairs)]


def same_photograph(files, names):
    """{(i, j)}: chains through the tiles of each photograph."""
    photographs, chained = {}, set()
    for folder in {path.parent for path in files.values()}:
        if (folder / "tiles.csv").is_file():
            photographs |= {(folder, row["file"]): row["photograph"] for row in read_csv(folder / "tiles.csv")}
    last = {}
    for i, name in enumerate(names):
        photograph = photographs.get((files[name].parent, files[name].name))
        if photograph is not None:
            if photograph in last:
                chained.add((last[photograph], i))
            last[photograph] = i
    return chained


def load_split(manifest, categories, method=None, seed=0, ratios=RATIOS):
    """The manifest at the path `manifest`, extended by categories (folders) that it does not know yet.

    `method` is "group", "random", or None for whatever the manifest has, "group" if there is none.
    Raises UserError where files have come, gone or changed since the split was made, or it is of another method.
    """
    from tqdm import tqdm

    manifest = Path(manifest)
    split = read_json(manifest) if manifest.is_file() else {"method": method or "group", "seed": seed,
                                                            "ratios": list(ratios), "files": {}}
    if method and split["method"] != method:
        raise UserError(f"{manifest} is a {split['method']} split, not a {method} one: python -m stablesdg.split DATA --split "
                        f"{method} --replace makes it anew, and all that was trained on it must be trained again.")
    changed = False
    for folder in map(Path, categories):
        category = folder.resolve().name
        files = {f"{category}/{file.name}": file for file in list_images(folder)}
        known = {name for name in split["files"] if name.startswith(category + "/")}
        if not known:
            digests = {name: sha256(file) for name, file in files.items()}
            first = {digest: name for name, digest in reversed(digests.items())}
            groups = {name: first[digest] for name, digest in digests.items()}
            if split["method"] == "group":
                groups, _ = find_groups(files, lambda rows: tqdm(rows, unit="image", desc=f"overlaps in {category}", leave=False))
            parts = group_parts(groups, split["seed"], split["ratios"])
            for name, other in same_picture(split["files"], digests):
                if split["files"][other]["part"] != parts[name]:
                    raise UserError(f"{name} and {other} are one picture in two classes, and would lie in two parts of the "
                                    "split: keep it in one class.")
            split["files"].update({name: {"sha256": digests[name], "group": groups[name], "part": parts[name]}
                                   for name in files})
            print(f"split of {category}: " + describe(parts, groups))
            if empty := [part for part in PARTS if part not in parts.values()]:
                print(f"warning: {category} has no {' and no '.join(empty)} images, because its {len(files)} images show "
                      f"{count(len(set(groups.values())), 'surface')}; --split random deals them out all the same")
            changed = True
        elif strange := sorted(known ^ set(files)) or [n for n in files if sha256(files[n]) != split["files"][n]["sha256"]]:
            raise UserError(f"{count(len(strange), 'image')} of {category} came, went or changed since {manifest} was made, "
                            f"{strange[0]} first: restore them, or python -m stablesdg.split {folder.parent} --replace makes "
                            "it anew, and all that was trained on it must be trained again.")
    if changed:
        write_json(manifest, split)
    return split


def same_picture(known, digests):
    """[(name, other)]: files of {name: sha256} that stand in the manifest's `known` under another name."""
    others = {entry["sha256"]: name for name, entry in known.items()}
    return [(name, others[digest]) for name, digest in digests.items() if digest in others]


def kept_out(digests, split):
    """[(name, part), ..]: images with one of these sha256 that are in the validation or test part."""
    parts = {entry["sha256"]: (name, entry["part"]) for name, entry in split["files"].items() if entry["part"] != "train"}
    return sorted(parts[digest] for digest in set(digests) & set(parts))


def refuse_leak(seen, split, what):
    """Raise UserError if among `seen`, sha256 of the images that `what` was made from, is one kept out of training."""
    if leaked := kept_out(seen, split):
        raise UserError(f"{what} saw {leaked[0][0]}, which is in the {leaked[0][1]} part of the split "
                        f"({count(len(leaked), 'such image')}): train and generate again with this split.")


def count(n, noun):
    return f"{n} {noun}" + "s" * (n != 1)


def describe(parts, groups):
    shared = len(groups) - len(set(groups.values()))
    return (", ".join(f"{sum(p == part for p in parts.values())} {part}" for part in PARTS)
            + (f"; {count(len(set(groups.values())), 'group')} of images that share surface" if shared else ""))


def part_files(split, folder, part):
    """The files of one part of one category, sorted by name."""
    category = Path(folder).resolve().name
    return [file for file in list_images(folder) if split["files"][f"{category}/{file.name}"]["part"] == part]


# ---- command line -----------------------------------------------------------------------------------------------
