"""The expanded data set as plain folders, for other tools.

    expanded/train/CLASS/FILE                   real training images
    expanded/train/CLASS/generated/00000.png    generated images that the filter kept; ImageFolder finds them, too
    expanded/val/CLASS/FILE, test/CLASS/FILE    real images alone
    expanded/boxes/CLASS/                       boxes of composites, as VOC, YOLO and COCO
    expanded/origin.csv                         where each image is from
"""
import shutil
from pathlib import Path

from ..data.export import copy_into
from ..data.folders import list_categories
from ..data.split import PARTS, load_split, part_files
from ..evaluate.filter import USED
from ..storage.errors import UserError
from ..storage.files import atomic_folder, read_csv, write_csv
from .paths import split_file

COLUMNS = ("file", "part", "class", "kind", "source", "seed", "s", "w")
GENERATED = "generated"  # folder in a class's training folder


def export_expanded(data: Path, folder: Path, out: Path) -> int:
    """Write the folders anew. Returns the number of images; 0, and nothing is written, if there is no split.

    data    the folder of real images
    folder  the run folder of the data set
    """
    categories = list_categories(data)
    if not split_file(categories[0]).is_file():
        return 0
    split = load_split(split_file(categories[0]), categories)
    dropped = rejected_images(folder / "classify" / "filter.csv")
    rows = []
    with atomic_folder(out) as partial:
        for category in categories:
            name = category.resolve().name
            for part in PARTS:
                for file in part_files(split, category, part):
                    rows.append([copy_into(partial, Path(part) / name / file.name, file), part, name, "real",
                                 f"{name}/{file.name}", "", "", ""])
            rows += export_generated(folder / name / "samples", name, partial, dropped)
        write_csv(partial / "origin.csv", COLUMNS, rows)
    return len(rows)


def export_generated(samples: Path, name: str, out: Path, dropped: set[Path]) -> list[list[str]]:
    """Copy the images of a class that were not rejected, and their boxes. Returns their rows of origin.csv."""
    manifest = samples / "manifest.csv"
    rows = []
    for row in read_csv(manifest, ("file",)) if manifest.is_file() else ():
        if row["file"] != Path(row["file"]).name:
            raise UserError(f"{manifest} names {row['file']}, which is no file of its folder: make the images again.")
        file = samples / row["file"]
        if file.is_file() and file.resolve() not in dropped:
            target = Path("train") / name / GENERATED / row["file"]
            rows.append([copy_into(out, target, file), "train", name, GENERATED,
                         *(row.get(column) or "" for column in ("source", "seed", "s", "w"))])
    if rows and (samples / "boxes").is_dir():
        shutil.copytree(samples / "boxes", out / "boxes" / name)
    return rows


def rejected_images(verdicts: Path) -> set[Path]:
    """The images that the filter left out: those that no arm and seed was trained with."""
    if not verdicts.is_file():
        return set()
    rows = read_csv(verdicts, ("file", "verdict"))
    used = {row["file"] for row in rows if row["verdict"] in USED}
    return {Path(row["file"]).resolve() for row in rows if row["file"] not in used}
