"""What surrounds `python -m stablesdg.split --check`: how far a split leaks, told and drawn."""
from pathlib import Path

from ..data.leaks import CategoryLeak, LeakAcross, count_parts, listed_files, measure_leak, measure_leak_across
from ..data.parts import LEFT_OUT, count
from ..data.split import gone_names, read_split
from ..report.overlaps import save_named_overlaps
from ..storage.runs import dataset_folder

PAIRS_SHOWN = 6  # of a class, in a picture
NAMES_SHOWN = 3  # in a sentence


def check(manifest: Path, data: Path, categories: list[Path]) -> None:
    """Search for overlaps, print how far the split leaks, and draw overlapping pairs."""
    known = read_split(manifest)
    if gone := gone_names(known, data):
        print(f"warning: gone since the split was made: {count(len(gone), 'image')} ({gone[0]} first); "
              "restore them, or --forget takes out what is gone")
    if left_out := sorted(name for name, entry in known["files"].items() if entry["part"] == LEFT_OUT):
        print(f"left out of all parts: {count(len(left_out), 'image')} ({left_out[0]} first): {manifest} says why")
    files_of = {folder.name: listed_files(known, folder) for folder in categories}
    files = {name: file for own in files_of.values() for name, file in own.items()}
    print("class  images  groups  largest  overlapping pairs (false ones, by mirroring)  leaked: val  test")
    found: dict[str, CategoryLeak | LeakAcross] = {}
    for category, own in files_of.items():
        found[category] = leak = measure_leak(known, own, category)
        report(category, leak, count_parts(leak.leaked, known), count_parts(own, known))
    if len(categories) > 1:
        found["across"] = across = measure_leak_across(known, files)
        report_across(across, count_parts(across.leaked, known))
    for name, leak in found.items():
        if leak.overlaps:  # those with least in common are the ones to doubt
            shown = sorted(leak.overlaps, key=lambda o: o.overlap.share)[:PAIRS_SHOWN]
            picture = dataset_folder(data) / f"overlaps-{name}.png"
            save_named_overlaps(picture, shown)
            print(f"wrote {picture}: {count(len(shown), 'overlapping pair')}, those with least in common")
    if apart := sum(leak.not_compared for leak in found.values()):
        print(f"{count(apart, 'pair')} of images were not compared: their sides differ more than twofold, and "
              "their scale is unknown")
    sizes = count_parts(files, known)
    sums = count_parts({name for leak in found.values() for name in leak.leaked}, known)
    print("in all: " + ", ".join(f"{a} of {sizes[part]} {part} images ({a / max(1, sizes[part]):.0%}) share surface "
                                 "with a training image" for part, a in sums.items()))


def report(name: str, leak: CategoryLeak, leaked: dict[str, int], images: dict[str, int]) -> None:
    """Print the line of a class. `leaked` and `images` are by part."""
    shares = {part: f"{n}/{images[part]}" for part, n in leaked.items()}
    print(f"{name:5} {leak.images:7} {leak.groups:7} {leak.largest_group:8} {leak.pairs:18} ({leak.false_pairs}) "
          f"{shares['val']:>28} {shares['test']:>6}", flush=True)


def report_across(across: LeakAcross, leaked: dict[str, int]) -> None:
    """Print what two classes share, and how many images of each part leak by it."""
    print(f"across classes: {across.pairs} overlapping pairs ({across.false_pairs} false ones, by mirroring); leaked: "
          f"val {leaked['val']}, test {leaked['test']}")
    if across.copies:
        shown = "; ".join(f"{a} and {b}" for a, b in across.copies[:NAMES_SHOWN])
        more = f" and {len(across.copies) - NAMES_SHOWN} more" if len(across.copies) > NAMES_SHOWN else ""
        print(f"warning: one picture in two classes: {shown}{more}")
