"""Boxes of masks, written as PASCAL VOC, YOLO and COCO.

    boxes/NAME.xml     VOC: pixels count from 1, and xmax, ymax belong to the box
    boxes/NAME.txt     YOLO: class, centre x, centre y, width, height, as shares of the image
    boxes/classes.txt  YOLO's list of classes
    boxes/coco.json    COCO: pixels count from 0; the masks too, as run lengths
"""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

from ..data.arithmetic import number_parts
from ..storage.files import atomic_folder, write_json
from .masks import grow, length_unit

MERGE_DISTANCE = 5.0  # pixels of an image of 200 x 200: parts that are nearer share a box


class Box(NamedTuple):
    """Pixels left .. right - 1 and top .. bottom - 1, counted from 0. A box read from a file may have fractions."""
    left: float
    top: float
    right: float
    bottom: float


class Part(NamedTuple):
    """A part of a mask that lies apart from the others."""
    box: Box
    area: np.ndarray  # bool (H, W)


def parts_of(mask: np.ndarray) -> list[Part]:
    """The parts of a mask (H, W), each with its bounding box. Pieces that nearly touch are one part."""
    labels = number_parts(grow(mask, MERGE_DISTANCE * length_unit(mask.shape) / 2))
    parts = []
    for label in range(1, int(labels.max()) + 1):
        area = mask & (labels == label)
        rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
        box = Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        parts.append(Part(box, area))
    return parts


def write_labels(folder: Path, masks: Mapping[Path, Path], category: str) -> None:
    """Write the folder anew, in the three formats, for {file of an image: file of its mask}."""
    images, annotations = [], []
    with atomic_folder(folder) as inside:
        (inside / "classes.txt").write_text(f"{category}\n", encoding="utf-8")
        for number, (file, mask_file) in enumerate(masks.items(), start=1):
            mask = read_mask(mask_file)
            height, width = mask.shape
            parts = parts_of(mask)
            with Image.open(file) as image:
                shape = (width, height, len(image.getbands()))
            (inside / f"{file.stem}.xml").write_text(voc(file.name, parts, category, shape), encoding="utf-8")
            (inside / f"{file.stem}.txt").write_text(yolo(parts, (width, height)), encoding="utf-8")
            images.append({"id": number, "file_name": file.name, "width": width, "height": height})
            for part in parts:
                annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": 1, **coco(part)})
        write_json(inside / "coco.json", {"images": images, "annotations": annotations,
                                          "categories": [{"id": 1, "name": category}]})


def read_mask(file: Path) -> np.ndarray:
    """A mask image: white is True. (H, W)."""
    with Image.open(file) as image:
        return np.asarray(image.convert("L")) > 127


def voc(name: str, parts: Sequence[Part], category: str, shape: tuple[int, int, int]) -> str:
    """One image's boxes as PASCAL VOC xml. `shape` is (width, height, channels)."""
    width, height, depth = shape
    lines = ["<annotation>", f"  <filename>{escape(name)}</filename>",
             f"  <size><width>{width}</width><height>{height}</height><depth>{depth}</depth></size>"]
    for box, _ in parts:
        corners = {"xmin": box.left + 1, "ymin": box.top + 1, "xmax": box.right, "ymax": box.bottom}
        lines.append(f"  <object><name>{escape(category)}</name><bndbox>"
                     + "".join(f"<{tag}>{value:g}</{tag}>" for tag, value in corners.items()) + "</bndbox></object>")
    return "\n".join([*lines, "</annotation>", ""])


def yolo(parts: Sequence[Part], size: tuple[int, int]) -> str:
    """One image's boxes as YOLO text. The class is 0, the first line of classes.txt."""
    width, height = size
    return "".join(f"0 {(box.left + box.right) / 2 / width:.6f} {(box.top + box.bottom) / 2 / height:.6f} "
                   f"{(box.right - box.left) / width:.6f} {(box.bottom - box.top) / height:.6f}\n" for box, _ in parts)


def coco(part: Part) -> dict[str, Any]:
    """One box and its mask as COCO has them. Run lengths go down the columns and begin with pixels outside."""
    box, area = part
    pixels = area.T.ravel()
    changes = (np.flatnonzero(pixels[1:] != pixels[:-1]) + 1).tolist()
    runs = [int(n) for n in np.diff([0, *changes, pixels.size])]
    return {"bbox": [box.left, box.top, box.right - box.left, box.bottom - box.top], "area": int(area.sum()),
            "iscrowd": 0, "segmentation": {"size": list(area.shape), "counts": [0] * bool(pixels[0]) + runs}}
