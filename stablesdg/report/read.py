"""What lies in the run folder of a data set, gathered for its report. Nothing is trained, and nothing is written.

    runs/neu/split.json                          the parts
    runs/neu/overlaps-*.png                      pairs that `python -m stablesdg.split neu --check` drew
    runs/neu/plan/plan.json, overlaps-*.png      what `python -m stablesdg.plan neu` found
    runs/neu/CATEGORY/run.json, log-*.csv        trainings
    runs/neu/CATEGORY/tune.csv, choice.json      the search for s and w, and its choice
    runs/neu/CATEGORY/samples/manifest.csv       generated images
    runs/neu/CATEGORY/fid.json                   what fid.py --json wrote
    runs/neu/classify/*.json, predictions-*.csv  classifiers
    runs/neu/classify/filter.csv                 what classify.py --filter kept
    runs/neu/expand.json                         what expand.py noted of its stages: see docs/report.md

Any of these may be missing, and so may any column of a table: the report then says how to make it.
"""
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.parts import PARTS
from ..evaluate.filter import KEPT, USED
from ..recognise.advice import DO_NOT
from ..recognise.results import Result, read_results
from ..storage.errors import UserError
from ..storage.files import read_csv, read_optional_json, read_table

STAGES = ("ti", "lora", "full")  # of training
OWN_FOLDERS = ("classify", "plan", "features", "export")  # in a data set's run folder, that are no category


@dataclass(frozen=True)
class GeneratedImage:
    """A row of manifest.csv, with the filter's verdict."""
    file: Path
    source: str  # CATEGORY/FILE, or "" if it was made from noise
    nearest: str  # the nearest training image, CATEGORY/FILE
    novelty: float | None
    ssim: float | None
    evidence: float | None  # how sure the classifier of real images is that the image shows its class, 0 to 1
    kept: bool | None  # by the filter; None where it has not run
    why: str  # it was rejected, or not judged


@dataclass(frozen=True)
class Curve:
    """The log of a training: points (iteration, loss)."""
    stage: str
    batches: Sequence[tuple[int, float]]
    held_out: Sequence[tuple[int, float]]


@dataclass(frozen=True)
class TunedCell:
    """A row of tune.csv."""
    s: float
    w: float
    number: int  # of images
    distance: float
    sd: float
    novelty: float


@dataclass(frozen=True)
class Category:
    """One class of the data set."""
    name: str
    folder: Path  # its run folder
    images: Mapping[str, Sequence[str]]  # {part: [CATEGORY/FILE, ..]}
    surfaces: Mapping[str, int]  # {part: different surfaces}
    run: Mapping[str, Any]  # run.json
    choice: Mapping[str, Any]  # choice.json
    generated: Sequence[GeneratedImage]
    curves: Sequence[Curve]
    cells: Sequence[TunedCell]
    fid: Mapping[str, Any]
    previews: Sequence[Path]

    @property
    def n_images(self) -> int:
        """Real images in all parts."""
        return sum(map(len, self.images.values()))

    @property
    def rejected(self) -> list[GeneratedImage]:
        """Those that the filter threw out."""
        return [image for image in self.generated if image.kept is False]

    @property
    def is_filtered(self) -> bool:
        """Whether the filter has judged its images."""
        return any(image.kept is not None for image in self.generated)


@dataclass(frozen=True)
class Prediction:
    """One labelled image that a trained classifier has seen."""
    file: str
    true: str
    probabilities: Mapping[str, float]  # {class: probability}


@dataclass(frozen=True)
class Findings:
    """All that is known of a data set."""
    folder: Path  # runs/DATASET
    data: Path | None  # the folder of real images
    split: Mapping[str, Any]  # split.json
    categories: Sequence[Category]
    overlaps: Sequence[Path]  # pictures of pairs
    plan: Mapping[str, Any]
    results: Sequence[Result]  # that were tested on the test part as it is now
    outdated: Sequence[str]  # names of the others
    predictions: Mapping[str, Sequence[Prediction]]  # {name of the file: rows}
    expansion: Mapping[str, Any]  # expand.json

    @property
    def name(self) -> str:
        """Of the data set."""
        return self.folder.resolve().name

    @property
    def wants_images(self) -> bool:
        """Whether images are there, or the plan does not advise against them."""
        return (any(category.generated for category in self.categories)
                or self.plan.get("advice", {}).get("verdict") != DO_NOT)

    @property
    def real_only(self) -> list[str]:
        """The classes that need no generated images: good surfaces, and those that a classifier was told of."""
        named = {str(self.expansion.get("good") or "")}.union(
            *(result.setup.arguments.get("real_only") or () for result in self.results))
        return [category.name for category in self.categories if category.name in named and not category.generated]


def read_findings(folder: Path, data: Path | None = None) -> Findings:
    """Gather what a run folder holds.

    data  the folder of real images (default: the one that the runs name)

    Raises UserError if the folder is no data set's run folder.
    """
    split = read_optional_json(folder / "split.json")
    files: Mapping[str, Any] = split.get("files", {})
    names = sorted({name.split("/")[0] for name in files} | {own.name for own in run_folders(folder)})
    if not names:
        raise UserError(f"{folder} is not the run folder of a data set (it has no split.json and no run of a class): "
                        "pass runs/neu, for example. python -m stablesdg.split DATA makes one.")
    verdicts = read_filter(folder / "classify" / "filter.csv")
    categories = [read_category(folder / name, files, verdicts) for name in names]
    results = read_results(folder / "classify")
    outdated = [one.setup.stem for one in results if files and not is_tested_on(one, files)]
    return Findings(folder, data or find_data(categories, results), split, categories,
                    find_overlaps(folder), read_optional_json(folder / "plan" / "plan.json"),
                    [one for one in results if one.setup.stem not in outdated], outdated,
                    {file.stem: read_predictions(file) for file in sorted((folder / "classify").glob("predictions*"))},
                    read_optional_json(folder / "expand.json"))


def is_tested_on(result: Result, files: Mapping[str, Any]) -> bool:
    """Whether a result was tested on all test images of its classes. `files` are those of split.json."""
    return set(result.setup.test_files) == {name for name, entry in files.items() if entry["part"] == "test"
                                            and name.split("/")[0] in result.setup.classes}


def find_overlaps(folder: Path) -> list[Path]:
    """The pictures of overlapping pairs that plan drew, or else those of split --check."""
    return sorted((folder / "plan").glob("overlaps-*.png")) or sorted(folder.glob("overlaps-*.png"))


def run_folders(folder: Path) -> list[Path]:
    """The folders of classes in a data set's run folder."""
    marks = ("run.json", "tune.csv", "samples")
    return [own for own in folder.glob("*/") if own.name not in OWN_FOLDERS
            and any((own / mark).exists() for mark in marks)]


def find_data(categories: Sequence[Category], results: Sequence[Result]) -> Path | None:
    """The folder of real images that runs and results name, if it is still there."""
    named = [Path(category.run["data"]).parent for category in categories if category.run.get("data")]
    named += [Path(result.setup.arguments["data"]) for result in results if result.setup.arguments.get("data")]
    return next((folder for folder in named if folder.is_dir()), None)


def read_category(folder: Path, files: Mapping[str, Any], verdicts: Mapping[str, Mapping[str, str]]) -> Category:
    """What is known of one class: `files` are those of split.json, `verdicts` those of `read_filter`."""
    own = {name: entry for name, entry in files.items() if name.split("/")[0] == folder.name}
    images = {part: sorted(name for name, entry in own.items() if entry["part"] == part) for part in PARTS}
    surfaces = {part: len({own[name]["group"] for name in images[part]}) for part in PARTS}
    curves = [read_curve(stage, folder / f"log-{stage}.csv") for stage in STAGES
              if (folder / f"log-{stage}.csv").is_file()]
    return Category(folder.name, folder, images, surfaces, read_optional_json(folder / "run.json"),
                    read_optional_json(folder / "choice.json"),
                    read_generated(folder / "samples", verdicts), curves, read_cells(folder / "tune.csv"),
                    read_optional_json(folder / "fid.json"), sorted(folder.glob("preview-*.png")))


# ---- tables -----------------------------------------------------------------------------------------------------


def rows_of(file: Path, *columns: str) -> list[dict[str, str]]:
    """The rows of a CSV file, or [] if there is none, or if it lacks one of the columns."""
    rows = read_csv(file) if file.is_file() else []
    return rows if rows and set(columns) <= set(rows[0]) else []


def number(row: Mapping[str, str], column: str) -> float | None:
    """The number in a column, or None if it has none."""
    try:
        return float(row[column])
    except (KeyError, TypeError, ValueError):
        return None


def place(file: Path) -> str:
    """CATEGORY/samples/FILE: a file as it is named in any folder of runs."""
    return "/".join(file.parts[-3:])


def read_filter(file: Path) -> dict[str, dict[str, str]]:
    """{place of a generated image: row of filter.csv}. Where one arm and seed was trained with it, that one counts."""
    rows: dict[str, dict[str, str]] = {}
    for row in rows_of(file):
        image = place(Path(row.get("file", "")))
        if image not in rows or (row.get("verdict") in USED and rows[image].get("verdict") not in USED):
            rows[image] = row
    return rows


def read_generated(folder: Path, verdicts: Mapping[str, Mapping[str, str]]) -> list[GeneratedImage]:
    """The images of a manifest, with the filter's verdicts. Those whose files are gone are left out."""
    images = []
    for row in rows_of(folder / "manifest.csv", "file"):
        file = folder / row["file"]
        if file.is_file():
            found = verdicts.get(place(file), {})
            if found.get("novelty", "") != row.get("novelty", found.get("novelty", "")):
                found = {}  # of another image of this name
            said = found.get("verdict")
            images.append(GeneratedImage(file, row.get("source") or "", row.get("nearest") or "",
                                         number(row, "novelty"), number(row, "ssim"), number(found, "evidence"),
                                         said in USED if said else None, "" if said in (None, KEPT) else said))
    return images


def read_curve(stage: str, file: Path) -> Curve:
    """The losses of a training log."""
    batches, held_out = [], []
    for row in rows_of(file, "iteration"):
        for points, column in ((batches, "loss"), (held_out, "held_out_loss")):
            if (loss := number(row, column)) is not None:
                points.append((int(row["iteration"]), loss))
    return Curve(stage, batches, held_out)


def read_cells(file: Path) -> list[TunedCell]:
    """The grid of tune.py: of each cell the row with the most images."""
    cells: dict[tuple[float, float], TunedCell] = {}
    for row in rows_of(file):
        s, w, n, distance = (number(row, column) for column in ("s", "w", "number", "fid"))
        if s is None or w is None or n is None or distance is None:
            continue
        if (s, w) not in cells or n > cells[s, w].number:
            cells[s, w] = TunedCell(s, w, int(n), distance, number(row, "fid_sd") or 0.0, number(row, "novelty") or 0.0)
    return [cells[key] for key in sorted(cells)]


def read_predictions(file: Path) -> list[Prediction]:
    """Labelled images and the probabilities that a classifier gave them; [] if the file has no labels."""
    if file.suffix != ".csv":
        return []
    head, rows = read_table(file)
    if head[:3] != ["file", "true", "class"]:
        return []
    return [Prediction(name, true, dict(zip(head[3:], map(float, shares)))) for name, true, _, *shares in rows]


def copies(files: Mapping[str, Any]) -> list[list[str]]:
    """Groups of images whose files have the same bytes."""
    times = Counter(entry["sha256"] for entry in files.values())
    groups: dict[str, list[str]] = {}
    for name, entry in sorted(files.items()):
        if times[entry["sha256"]] > 1:
            groups.setdefault(entry["sha256"], []).append(name)
    return list(groups.values())
