"""Where a run's files lie."""
import os
from pathlib import Path

from ..storage.errors import UserError
from ..storage.runs import RUNS_VARIABLE, dataset_folder


def choose_runs(folder: str | Path) -> None:
    """Take another folder for all runs, in this process and those that it starts."""
    os.environ[RUNS_VARIABLE] = str(Path(folder).expanduser().resolve())


def run_folder(data: Path, out: Path | None = None) -> Path:
    """runs/DATASET/CATEGORY for the folder DATASET/CATEGORY, or `out`."""
    data = data.resolve()
    return out or dataset_folder(data.parent) / data.name


def split_file(data: Path) -> Path:
    """runs/DATASET/split.json for the category folder DATASET/CATEGORY. All scripts use it, whatever --out is."""
    return dataset_folder(data.resolve().parent) / "split.json"


def sample_folder(run: Path, out: str | None) -> Path:
    """Where sample.py writes: samples in the run folder, a bare name there too, or a path with a slash as it is."""
    if out is None:
        return run / "samples"
    if any(mark in out for mark in {"/", os.sep}):
        return Path(out)
    if out in ("", ".", ".."):
        raise UserError(f"--out {out!r} is no name: pass one for a folder in the run folder, or a path with a slash.")
    return run / out
