"""Groups of images to training, validation and test part, and the types of the manifest that fixes them."""
import random
from collections.abc import Mapping, Sequence
from typing import TypedDict

PARTS = ("train", "val", "test")
LEFT_OUT = "left-out"  # in the place of a part: the image is in none
RATIOS = (8, 1, 1)
METHODS = ("group", "random")
LEAST_FOR_THREE_PARTS = 3  # images, or groups: with as many, no part is empty


class SplitEntry(TypedDict):
    """What the manifest says of one image."""
    sha256: str
    group: str  # the name of its first image
    part: str  # "train", "val", "test" or "left-out"


class LeftOutEntry(SplitEntry):
    """What it says of an image that is in no part."""
    why: str


class Split(TypedDict):
    """The manifest, as it lies in split.json."""
    method: str  # "group" or "random"
    seed: int
    ratios: list[float]
    files: dict[str, SplitEntry]  # by name, CATEGORY/FILE


# ---- groups to parts -----------------------------------------------------------------------------------------------


def group_parts(groups: Mapping[str, str], seed: int, ratios: Sequence[float] = RATIOS,
                fixed: Mapping[str, str] | None = None) -> dict[str, str]:
    """{name: part} for {name: group}. Each group lies in one part; each part is as near to its share as groups allow.

    In random order, a group goes to the part that lacks most of its share and has room for it, else to the training
    part. A part that stays empty gets the smallest group of the training part, as long as there are three groups.

    fixed  {group: part} of groups that have a part already
    """
    members: dict[str, list[str]] = {}
    for name in sorted(groups):
        members.setdefault(groups[name], []).append(name)
    order = sorted(members)
    random.Random(f"{seed} {'|'.join(sorted(groups))}").shuffle(order)
    shares = {part: round(len(groups) * ratio / sum(ratios)) for part, ratio in zip(PARTS[1:], ratios[1:])}
    if len(groups) >= LEAST_FOR_THREE_PARTS:
        shares = {part: max(1, share) for part, share in shares.items()}
    part_of = {group: part for group, part in (fixed or {}).items() if group in members}
    room = {part: share - sum(len(members[group]) for group in part_of if part_of[group] == part)
            for part, share in shares.items()}
    free = [group for group in order if group not in part_of]
    for group in free:
        fitting = [part for part in room if room[part] >= len(members[group])]
        part = max(fitting, key=lambda part: (room[part] / shares[part], part == "val"), default="train")
        if part != "train":
            room[part] -= len(members[group])
        part_of[group] = part
    for part in room:
        training = [group for group in free if part_of[group] == "train"]
        if part not in part_of.values() and len(members) >= LEAST_FOR_THREE_PARTS and len(training) > 1:
            part_of[min(training, key=lambda group: len(members[group]))] = part
    return {name: part_of[group] for group in order for name in members[group]}


def count(n: int, noun: str) -> str:
    """"1 image", "2 images"."""
    return f"{n} {noun}" + "s" * (n != 1)
