"""Where is the defect? Masks and boxes that a person made: PNG, PASCAL VOC xml, YOLO txt, COCO json."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from ..data.images import read_image
from ..storage.errors import UserError
from ..storage.files import read_json, sha256
from .labels import Box, read_mask
from .masks import Mask

LARGEST_XML = 2**22  # bytes; a box takes some two hundred


@dataclass(frozen=True)
class GivenMasks:
    """A PNG for each image: white is the defect."""
    files: Mapping[Path, Path]

    def mask_of(self, source: Path, shape: tuple[int, int]) -> Mask:
        """The mask of one image of `shape` (H, W). Raises UserError if it has another size, or nothing is white."""
        file = self.files[source]
        area = read_mask(file)
        if area.shape != shape:
            raise UserError(f"{file} has {area.shape[1]} x {area.shape[0]} pixels, and {source} has {shape[1]} x "
                            f"{shape[0]}: a mask must have the size of its image.")
        if not area.any():
            raise UserError(f"{file} has no white pixel: white marks the defect.")
        return Mask(area, "given mask")

    def unmarked(self) -> list[Path]:
        """The images whose mask has no white pixel. Raises UserError if these are more than half of all."""
        empty = [source for source, file in self.files.items() if not read_mask(file).any()]
        if 2 * len(empty) > len(self.files):
            raise UserError(f"{len(empty)} of {len(self.files)} masks have no white pixel ({self.files[empty[0]]} "
                            "first): white (255) marks the defect, and black (0) the rest.")
        return empty

    def digest(self) -> list[str]:
        """What the masks hold, for settings.json."""
        return [sha256(file) for file in self.files.values()]


@dataclass(frozen=True)
class GivenBoxes:
    """Boxes for each image."""
    boxes: Mapping[Path, Sequence[Box]]

    def mask_of(self, source: Path, shape: tuple[int, int]) -> Mask:
        """The inside of the boxes of one image of `shape` (H, W). Raises UserError if they lie outside of it."""
        area = np.zeros(shape, dtype=bool)
        for left, top, right, bottom in self.boxes[source]:
            area[max(0, round(top)):max(0, round(bottom)), max(0, round(left)):max(0, round(right))] = True
        if not area.any():
            raise UserError(f"The boxes of {source} lie outside of the image: correct them.")
        return Mask(area, "given boxes")

    def unmarked(self) -> list[Path]:
        """None: each image has a box."""
        return []

    def digest(self) -> list[list[float]]:
        """What the boxes say, for settings.json."""
        return [list(box) for boxes in self.boxes.values() for box in boxes]


def read_given(masks: Path | None, boxes: Path | None, box_class: str | None,
               sources: Sequence[Path]) -> GivenMasks | GivenBoxes | None:
    """What was given, if anything. Raises UserError as read_masks and read_boxes do."""
    if masks:
        return read_masks(masks, sources)
    return read_boxes(boxes, sources, box_class) if boxes else None


def read_masks(folder: Path, sources: Sequence[Path]) -> GivenMasks:
    """The masks of a folder, by the names of the images. Raises UserError if an image has none."""
    files = {source: folder / f"{source.stem}.png" for source in sources}
    require_all({source: file.is_file() for source, file in files.items()}, folder, "mask")
    return GivenMasks(files)


def read_boxes(where: Path, sources: Sequence[Path], name: str | None = None) -> GivenBoxes:
    """The boxes of images.

    where  a folder of xml or txt files with the images' names, or a COCO json file, or a folder with one
    name   only boxes of this class (default: all)

    Raises UserError if an image has no box, or if a file cannot be read.
    """
    documents = [where] if where.is_file() else sorted(where.glob("*.json"))
    if where.is_dir() and any((where / f"{source.stem}.xml").is_file() for source in sources):
        boxes = {source: read_voc(file, name) if (file := where / f"{source.stem}.xml").is_file() else []
                 for source in sources}
    elif where.is_dir() and any((where / f"{source.stem}.txt").is_file() for source in sources):
        boxes = {source: read_yolo(file, read_image(source)[0].size, name)
                 if (file := where / f"{source.stem}.txt").is_file() else [] for source in sources}
    elif len(documents) == 1:
        found = read_coco(documents[0], name)
        boxes = {source: coco_boxes(found, source, documents[0]) for source in sources}
    else:
        raise UserError(f"{where} holds no boxes of these images: pass a folder of VOC xml or YOLO txt files that are "
                        "named as the images, or a COCO json file.")
    require_all({source: bool(own) for source, own in boxes.items()}, where, f"box of {name}" if name else "box")
    return GivenBoxes(boxes)


def coco_boxes(found: Mapping[str, list[Box]], source: Path, file: Path) -> list[Box]:
    """The boxes of one image, by its name; of several of that name in other folders, those in the folder of its class.

    Raises UserError if that leaves more than one.
    """
    named = [name for name in found if Path(name).name == source.name]
    if len(named) > 1:
        named = [name for name in named if Path(name).parent.name == source.parent.name]
        if len(named) != 1:
            raise UserError(f"{file} has several images {source.name}, and none is {source.parent.name}/{source.name}: "
                            "write each file_name with the folder of its class.")
    return found[named[0]] if named else []


def require_all(there: Mapping[Path, bool], where: Path, what: str) -> None:
    """Raise UserError if an image has none."""
    if missing := [source for source, own in there.items() if not own]:
        raise UserError(f"{where} has no {what} for {len(missing)} of the {len(there)} source images "
                        f"({missing[0].name} first): add them, or leave the option out and the defect is sought.")


def malformed(file: Path, error: object) -> UserError:
    """A file of boxes that cannot be read."""
    return UserError(f"{file} cannot be read as boxes ({error}): repair or remove it.")


def checked(left: float, top: float, right: float, bottom: float) -> Box:
    """A box with some area. Raises ValueError for any other, and for numbers that are none."""
    if not (left < right < inf and -inf < top < bottom < inf and left > -inf):
        raise ValueError(f"a box from {left:g}, {top:g} to {right:g}, {bottom:g}")
    return Box(left, top, right, bottom)


# ---- formats ----------------------------------------------------------------------------------------------------


def read_voc(file: Path, name: str | None = None) -> list[Box]:
    """The boxes of a PASCAL VOC xml file. Pixels count from 1 there, and the last ones belong to the box."""
    boxes = []
    try:
        for item in parse_xml(file).iter("object"):
            if name is None or (item.findtext("name") or "").strip() == name:
                corner = {tag: float(item.findtext(f"bndbox/{tag}") or "") for tag in ("xmin", "ymin", "xmax", "ymax")}
                boxes.append(checked(corner["xmin"] - 1, corner["ymin"] - 1, corner["xmax"], corner["ymax"]))
    except (ElementTree.ParseError, ValueError) as error:
        raise error if isinstance(error, UserError) else malformed(file, error) from None
    return boxes


def parse_xml(file: Path) -> ElementTree.Element:
    """The root of an xml file. A document type is refused: its entities could grow without bound, or read files."""
    def refuse(*declaration: object) -> None:
        raise UserError(f"{file} declares a document type (DOCTYPE), which boxes do not need and which can do harm: "
                        "remove the declaration.")

    data = file.read_bytes()
    if len(data) > LARGEST_XML:
        raise UserError(f"{file} has {len(data)} bytes, too many for the boxes of an image: is it the right file?")
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise malformed(file, error) from None
    return ElementTree.fromstring(data)


def read_yolo(file: Path, size: tuple[int, int], name: str | None = None) -> list[Box]:
    """The boxes of a YOLO txt file, for an image of `size` (width, height). A class is its number or its name."""
    names, boxes = class_names(file.parent), []
    try:
        for line in filter(None, map(str.strip, file.read_text(encoding="utf-8").splitlines())):
            number, *values = line.split()
            if name is None or name in {number, *(names[int(number):int(number) + 1])}:
                boxes.append(yolo_box([float(value) for value in values], size))
    except ValueError as error:
        raise malformed(file, error) from None
    return boxes


def class_names(folder: Path) -> list[str]:
    """The lines of classes.txt in a folder of YOLO files, or in the one above it. Raises UserError if it is no text."""
    for file in (folder / "classes.txt", folder.parent / "classes.txt"):
        if file.is_file():
            try:
                return file.read_text(encoding="utf-8").split("\n")
            except UnicodeDecodeError as error:
                raise UserError(f"{file} is not UTF-8 ({error}): save it as that, or remove it.") from None
    return []


def yolo_box(values: Sequence[float], size: tuple[int, int]) -> Box:
    """The box of a line: x, y, width and height, perhaps a confidence after them, or the points of a polygon.

    Raises ValueError for other numbers of values.
    """
    if len(values) in (4, 5):
        x, y, width, height = (value * side for value, side in zip(values, size * 2))
        return checked(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"a line of {len(values)} numbers after the class")
    xs, ys = ([value * side for value in values[axis::2]] for axis, side in enumerate(size))
    return checked(min(xs), min(ys), max(xs), max(ys))


def read_coco(file: Path, name: str | None = None) -> dict[str, list[Box]]:
    """{file_name: boxes} of a COCO json file."""
    document: Any = read_json(file)
    boxes: dict[str, list[Box]] = {}
    try:
        files = {image["id"]: str(image["file_name"]) for image in document["images"]}
        wanted = {kind["id"] for kind in document["categories"] if name is None or kind["name"] == name}
        for item in document["annotations"]:
            if item["category_id"] in wanted:
                left, top, width, height = map(float, item["bbox"])
                boxes.setdefault(files[item["image_id"]], []).append(checked(left, top, left + width, top + height))
    except (KeyError, TypeError, ValueError) as error:
        raise malformed(file, error) from None
    return boxes
