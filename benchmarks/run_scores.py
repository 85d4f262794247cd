"""What ranks.py and prompts.py share: run folders with TI, LoRA and images, and what each of them scores."""
import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from jobs import ROOT, Job, keep_settings, run

from stablesdg.app.command_line import parser, positive
from stablesdg.storage.files import read_csv, read_json, write_csv
from stablesdg.storage.tensors import load_tensors

ADAPTERS = {"ti": "embedding", "lora": "lora"}  # stage -> the file that it writes


@dataclass(frozen=True)
class RunScoresSettings:
    """What all run folders of a benchmark have in common."""
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
        """The folder of its run folders."""
        return self.out / self.category


@dataclass(frozen=True)
class RunScore:
    """What a run folder scores."""
    parameters: int  # of all its adapters
    distance: float
    floor: float
    n: int  # images on both sides
    novelty: float  # median


def scores_parser(doc: str | None, example: str, name: str) -> argparse.ArgumentParser:
    """The arguments of RunScoresSettings."""
    p = parser(doc, example)
    p.add_argument("data", type=Path, help="category folder, for example neu/Pa")
    p.add_argument("--iterations", type=positive, default=1000, help="of each training stage")
    p.add_argument("--number", type=positive, default=100, help="images a run folder")
    p.add_argument("--steps", type=positive, default=25, help="denoising steps of a full run, by DPM-Solver++")
    p.add_argument("--strength", type=float, help="s of image-oriented generation (default: sample.py's)")
    p.add_argument("--features", default="nano", choices=["inception", "nano", "imagenet"],
                   help="as fid.py takes them")
    p.add_argument("--reference", default="train", choices=["all", "train", "held-out"], help="as fid.py takes it")
    p.add_argument("--weights", type=Path, default=ROOT / "weights" / "nano")
    p.add_argument("--out", type=Path, default=Path("runs/benchmarks") / name)
    return p


def open_settings(arguments: Mapping[str, Any]) -> RunScoresSettings:
    """The settings. Raises UserError if their folder holds results that were made with others."""
    settings = RunScoresSettings(**arguments)
    keep_settings(settings.place, {name: value for name, value in vars(settings).items() if name != "out"})
    return settings


def write_scores(settings: RunScoresSettings, column: str, scores: Mapping[Any, RunScore]) -> None:
    """Write and print the table of a category's run folders. `column` says what they differ by."""
    columns = ("category", column, "parameters", "distance", "floor", "N", "novelty")
    rows = [(settings.category, what, score.parameters, f"{score.distance:.3f}", f"{score.floor:.3f}", score.n,
             f"{score.novelty:.2f}") for what, score in scores.items()]
    write_csv(settings.out / f"{settings.category}.csv", columns, rows)
    for row in rows:
        print(", ".join(f"{name} {value}" for name, value in zip(columns, row)))
    print(f"wrote {settings.place}.csv and .png")


def train(settings: RunScoresSettings, folder: Path, stage: str, *how: object,
          copy: tuple[Path, Path] | None = None) -> None:
    """One training stage of a run folder."""
    run(Job((f"train_{stage}.py", "--data", settings.data, "--out", folder, "--weights", settings.weights,
             "--iterations", settings.iterations, "--no-preview", "--resume", *how),
            folder / f"{ADAPTERS[stage]}.safetensors", copy=copy), settings.out)


def measure(settings: RunScoresSettings, folder: Path) -> RunScore:
    """Images of a run folder and their distance from the real ones."""
    samples, file = folder / "samples", folder / "score.json"
    how = [] if settings.strength is None else ["--strength", settings.strength]
    run(Job(("sample.py", "--run", folder, "--number", settings.number, "--steps", settings.steps, "--sampler", "dpm",
             *how, "--resume"), samples / "manifest.csv"), settings.out)
    run(Job(("fid.py", settings.data, samples, "--features", settings.features, "--reference", settings.reference,
             "--json", file), file), settings.out)
    found = read_json(file)
    parameters = sum(tensor.numel() for name in ADAPTERS.values()
                     for key, tensor in load_tensors(folder / f"{name}.safetensors")[0].items()
                     if not key.endswith("alpha"))
    return RunScore(parameters, found["fid_same_n"], found["floor"], found["same_n"],
                    median(float(row["novelty"]) for row in read_csv(samples / "manifest.csv")))
