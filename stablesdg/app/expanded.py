"""The expanded data set as plain folders, for other tools.

    expanded/train/CLASS/FILE                   real training images
    expanded/train/CLASS/generated/00000.png    generated images that the filter kept; ImageFolder finds them, too
    expanded/val/CLASS/FILE, test/CLASS/FILE    real images alone
    expanded/boxes/CLASS/                       boxes of composites, as VOC, YOLO and COCO
    expanded/origin.csv                         where each image is from
"""
from collections.abc import Mapping
from pathlib import Path

from ..data.export import copy_into
from ..data.folders import list_categories
from ..data.generated import BOX_FILES
from ..data.split import PARTS, Split, load_split, part_files
from ..evaluate.filter import USED
from ..recognise.generated_sets import find_generated
from ..storage.errors import UserError
from ..storage.files import atomic_folder, read_csv, read_json, write_csv, write_json
from .paths import split_file

COLUMNS = ("file", "part", "class", "kind", "source", "seed", "s", "w")
GENERATED = "generated"  # folder in a class's training folder
CLASS_LIST, COCO = BOX_FILES


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
            if is_fair(folder, name, split):
                rows += export_generated(folder / name / "samples", name, partial, dropped)
        write_csv(partial / "origin.csv", COLUMNS, rows)
    return len(rows)


def is_fair(folder: Path, name: str, split: Split) -> bool:
    """Whether the generated images of a class, if it has any, follow from training images alone. Says if not."""
    if not (folder / name / "samples" / "manifest.csv").is_file():
        return False
    try:
        find_generated(folder, name, split)
    except UserError as error:
        print(f"warning: the generated images of {name} are not exported: {error}")
        return False
    return True


def export_generated(samples: Path, name: str, out: Path, dropped: Mapping[Path, str]) -> list[list[str]]:
    """Copy the images of a class that were not rejected, and their boxes. Returns their rows of origin.csv."""
    manifest = samples / "manifest.csv"
    rows = []
    for row in read_csv(manifest, ("file",)) if manifest.is_file() else ():
        if row["file"] != Path(row["file"]).name:
            raise UserError(f"{manifest} names {row['file']}, which is no file of its folder: make the images again.")
        file = samples / row["file"]
        novelty = dropped.get(file.resolve())
        if file.is_file() and (novelty is None or novelty != row.get("novelty", novelty)):
            target = Path("train") / name / GENERATED / row["file"]
            rows.append([copy_into(out, target, file), "train", name, GENERATED,
                         *(row.get(column) or "" for column in ("source", "seed", "s", "w"))])
    if rows and (samples / "boxes").is_dir():
        export_boxes(samples / "boxes", {Path(row[0]).name for row in rows}, out / "boxes" / name)
    return rows


def export_boxes(boxes: Path, images: set[str], out: Path) -> None:
    """Copy the boxes of these images."""
    stems = {Path(name).stem for name in images}
    for file in boxes.iterdir():
        if file.stem in stems or file.name == CLASS_LIST:
            copy_into(out, Path(file.name), file)
    if (boxes / COCO).is_file():
        coco = read_json(boxes / COCO)
        kept = [image for image in coco["images"] if image["file_name"] in images]
        ids = {image["id"] for image in kept}
        write_json(out / COCO, {**coco, "images": kept, "annotations": [
            box for box in coco["annotations"] if box["image_id"] in ids]})


def rejected_images(verdicts: Path) -> dict[Path, str]:
    """{image: its novelty} of those that the filter left out: no arm and seed was trained with them."""
    if not verdicts.is_file():
        return {}
    rows = read_csv(verdicts, ("file", "novelty", "verdict"))
    used = {row["file"] for row in rows if row["verdict"] in USED}
    return {Path(row["file"]).resolve(): row["novelty"] for row in rows if row["file"] not in used}
