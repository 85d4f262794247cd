"""What ranks.py and prompts.py share: a cell is TI, LoRA, images and their distance, by the project's own commands."""
import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from calls import ROOT, call, keep_settings

from stablesdg.app.command_line import parser, positive
from stablesdg.storage.files import read_csv, read_json, write_csv
from stablesdg.storage.tensors import load_tensors

ADAPTERS = {"ti": "embedding", "lora": "lora"}  # stage -> the file that it writes


@dataclass(frozen=True)
class CellSettings:
    """What all cells of a benchmark have in common."""
    data: Path  # folder of the category
    iterations: int
    number: int
    steps: int
    strength: float | None
    features: str
    reference: str
    weights: Path
    out: Path

    @property
    def category(self) -> str:
        """Its name."""
        return self.data.resolve().name

    @property
    def place(self) -> Path:
        """The folder of its cells."""
        return self.out / self.category


@dataclass(frozen=True)
class Cell:
    """What a run folder scores."""
    parameters: int  # of all its adapters
    distance: float
    floor: float
    n: int  # images on both sides
    novelty: float  # median


def cell_parser(doc: str | None, example: str, name: str) -> argparse.ArgumentParser:
    """The arguments of CellSettings."""
    p = parser(doc, example)
    p.add_argument("data", type=Path, help="category folder, for example neu/Pa")
    p.add_argument("--iterations", type=positive, default=1000, help="of each training stage")
    p.add_argument("--number", type=positive, default=100, help="images a cell")
    p.add_argument("--steps", type=positive, default=25, help="denoising steps of a full run, by DPM-Solver++")
    p.add_argument("--strength", type=float, help="s of image-oriented generation (default: sample.py's)")
    p.add_argument("--features", default="nano", choices=["inception", "nano"], help="as fid.py takes them")
    p.add_argument("--reference", default="train", choices=["all", "train", "held-out"], help="as fid.py takes it")
    p.add_argument("--weights", type=Path, default=ROOT / "weights" / "nano")
    p.add_argument("--out", type=Path, default=Path("runs/benchmarks") / name)
    return p


def open_settings(arguments: Mapping[str, Any]) -> CellSettings:
    """The settings. Raises UserError if their folder holds results that were made with others."""
    settings = CellSettings(**arguments)
    keep_settings(settings.place, {name: value for name, value in vars(settings).items() if name != "out"})
    return settings


def write_cells(settings: CellSettings, column: str, cells: Mapping[object, Cell]) -> None:
    """Write and print the table of a category's cells. `column` says what they differ by."""
    columns = ("category", column, "parameters", "distance", "floor", "N", "novelty")
    rows = [(settings.category, what, cell.parameters, f"{cell.distance:.3f}", f"{cell.floor:.3f}", cell.n,
             f"{cell.novelty:.2f}") for what, cell in cells.items()]
    write_csv(settings.out / f"{settings.category}.csv", columns, rows)
    for row in rows:
        print(", ".join(f"{name} {value}" for name, value in zip(columns, row)))
    print(f"wrote {settings.place}.csv and .png")


def train(settings: CellSettings, folder: Path, stage: str, *how: object) -> None:
    """One training stage of a run folder, unless it is finished."""
    if (folder / f"{ADAPTERS[stage]}.safetensors").is_file():
        return
    call([f"train_{stage}.py", "--data", settings.data, "--out", folder, "--weights", settings.weights, "--iterations",
          settings.iterations, "--no-preview", "--resume", *how], None, settings.out / "log.txt")


def measure(settings: CellSettings, folder: Path) -> Cell:
    """Images of a run folder and their distance from the real ones."""
    samples, file, log = folder / "samples", folder / "score.json", settings.out / "log.txt"
    how = [] if settings.strength is None else ["--strength", settings.strength]
    call(["sample.py", "--run", folder, "--number", settings.number, "--steps", settings.steps, "--sampler", "dpm",
          *how, "--resume"], None, log)
    call(["fid.py", settings.data, samples, "--features", settings.features, "--reference", settings.reference,
          "--json", file], None, log)
    found = read_json(file)
    parameters = sum(tensor.numel() for name in ADAPTERS.values()
                     for key, tensor in load_tensors(folder / f"{name}.safetensors")[0].items()
                     if not key.endswith("alpha"))
    return Cell(parameters, found["fid_same_n"], found["floor"], found["same_n"],
                median(float(row["novelty"]) for row in read_csv(samples / "manifest.csv")))

