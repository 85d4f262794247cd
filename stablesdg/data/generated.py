"""A folder of generated images: which are to be made, what is kept when a call is interrupted, and the manifest.

    manifest.csv   a row for each image: file, source, seed, s, w, sampler, steps, novelty, nearest, ssim
    settings.json  what the images depend on

and, of composites,

    manifest.csv   further columns: ground, mask, region, share, mirror, dx, dy, seam, seam_pasted, seam_source
    masks/         where the pasted defects lie: a PNG for each image, white is the defect
    boxes/         the same as boxes, in three formats
"""
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from ..storage.errors import UserError
from ..storage.files import (
    partial_folder,
    read_csv,
    read_json,
    replace_folder,
    write_csv,
    write_json,
)
from ..storage.settings import as_json, require_same_settings
from .folders import SYSTEM_FILES
from .images import save_image

MANIFEST_COLUMNS = ("file", "source", "seed", "s", "w", "sampler", "steps", "novelty", "nearest", "ssim")
OWN_FILES = ("manifest.csv", "settings.json")
MADE = "made.json"  # the rows so far, until the folder is in its place
MASKS, BOXES = "masks", "boxes"  # folders beside the images of composites
BOX_FILES, BOX_ENDS = ("classes.txt", "coco.json"), (".xml", ".txt")  # for all images, and for each
SEED_STRIDE = 1_000_000  # between the first images of two seeds

Row = dict[str, str]


class Job(NamedTuple):
    """One image to be made."""
    source: Path
    name: str  # of the file
    seed: int


def list_jobs(sources: Sequence[Path], number: int, seed: int) -> list[Job]:
    """`number` jobs. Every source is used once before any is used again."""
    order = torch.randperm(len(sources), generator=torch.Generator().manual_seed(seed)).tolist()
    return [Job(sources[order[i % len(order)]], f"{i:05d}.png", seed * SEED_STRIDE + i) for i in range(number)]


def require_own_folder(out: Path) -> None:
    """Raise UserError if the folder holds anything that sample.py did not write: it would be deleted at the end."""
    if not out.exists():
        return
    rows = read_csv(out / "manifest.csv") if (out / "manifest.csv").is_file() else []
    names = {row.get("file", "") for row in rows}
    strange = [f.name for f in out.iterdir() if f.name not in {*OWN_FILES, *SYSTEM_FILES, *names}]
    if rows and "mask" in rows[0]:
        own_inside = {MASKS: names, BOXES: {*BOX_FILES, *(f"{Path(n).stem}{end}" for n in names for end in BOX_ENDS)}}
        strange = [name for name in strange if name not in own_inside or not (out / name).is_dir()]
        strange += [f"{folder}/{f.name}" for folder, files in own_inside.items() if (out / folder).is_dir()
                    for f in (out / folder).iterdir() if f.name not in {*files, *SYSTEM_FILES}]
    if strange:
        raise UserError(f"{out} holds something else than generated images ({min(strange)}): pass another --out.")


class ImageSet:
    """The images of one call of sample.py, on their way into the folder `out`.

    They are kept in `out`.partial until all are there. With `resume`, what an interrupted call left there is kept if it
    was made with the same settings, however many images it was to make.

    Each of many processes fills the folder with images of its own. The first one opens it, the others with `resume`
    after it, and it finishes it.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any], resume: bool, process: int = 0) -> None:
        self.out, self.partial = out, partial_folder(out)
        self.progress = self.partial / (f"made-{process}.json" if process else MADE)
        if out.exists():
            print(f"the images in {out} will be replaced when these are finished; another --out would keep both")
        if resume and (self.partial / "settings.json").is_file():
            before = read_json(self.partial / "settings.json") | {"number": settings["number"]}
            now = {**dict.fromkeys(before), **settings}  # an option that is left out counts as None
            require_same_settings(self.partial, before, now, "repeat those, or start without --resume")
        elif self.partial.exists() and not process:
            shutil.rmtree(self.partial)
        if not process:
            write_json(self.partial / "settings.json", settings)
        self.rows: dict[str, Row | None] = {}  # None: given up
        self.read_progress()

    def read_progress(self) -> None:
        """Learn from the disk what all processes have finished, however many there were."""
        for file in sorted(self.partial.glob("made*.json")):
            self.take_in(read_json(file))

    def take_in(self, rows: Mapping[str, Row | None]) -> None:
        """Learn what another process has finished."""
        self.rows.update(rows)

    def has(self, name: str) -> bool:
        """Whether this image is made, or was given up."""
        if name not in self.rows:
            return False
        row = self.rows[name]
        if row is None:
            return True
        return (self.partial / name).is_file() and ("mask" not in row or (self.partial / MASKS / name).is_file())

    def keep(self, name: str, image: Image.Image, row: Row, mask: Image.Image | None = None) -> None:
        """Write one image, and the mask of a composite, and remember its row."""
        if mask is not None:
            save_image(self.partial / MASKS / name, mask)
        save_image(self.partial / name, image)
        self.rows[name] = row

    def give_up(self, name: str) -> None:
        """Remember that this image is left out."""
        self.rows[name] = None

    def save_progress(self) -> None:
        """Write down what is finished, for a later --resume."""
        write_json(self.progress, self.rows)

    def made(self, jobs: Sequence[Job]) -> list[Row]:
        """The rows of the images that were made, in the order of the jobs."""
        return [row for job in jobs if (row := self.rows[job.name])]

    def write_manifest(self, jobs: Sequence[Job]) -> list[Row]:
        """Write the manifest of all images, and remove what is none of them. Returns the rows."""
        rows = self.made(jobs)
        if not rows:
            raise UserError(f"No image was novel enough, so {self.out} was not written: lower --min-novelty or raise "
                            "--strength.")
        columns = [*MANIFEST_COLUMNS, *(name for name in rows[0] if name not in MANIFEST_COLUMNS)]
        self.save_progress()  # of all processes: their own files go now
        write_csv(self.partial / "manifest.csv", columns, [[row[k] for k in columns] for row in rows])
        names = {row["file"] for row in rows}
        for folder, own in ((self.partial, {*names, *OWN_FILES, MADE, MASKS, BOXES}), (self.partial / MASKS, names)):
            for stray in (f for f in folder.glob("*") if f.name not in own):
                stray.unlink()
        return rows

    def put_in_place(self) -> None:
        """Let the folder take its place. Images of an earlier call go.

        It comes last: a call that is killed before it can go on, and what is in its place has all that belongs to it.
        """
        require_own_folder(self.out)  # much may have happened since the start
        (self.partial / MADE).unlink(missing_ok=True)
        replace_folder(self.partial, self.out)


def is_finished(out: Path, settings: Mapping[str, Any]) -> bool:
    """Whether `out` already holds images made with exactly these settings."""
    written = out / "settings.json"
    return (out / "manifest.csv").is_file() and written.is_file() and read_json(written) == as_json(settings)
