"""Where runs lie."""
import os
from pathlib import Path

RUNS_VARIABLE = "STABLESDG_RUNS"  # the environment variable; --runs sets it


def runs_root() -> Path:
    """The folder named by STABLESDG_RUNS, or else runs/ in the current folder."""
    return Path(os.environ.get(RUNS_VARIABLE) or "runs")


def dataset_folder(data: Path) -> Path:
    """runs/DATASET for the folder DATASET of a data set. That of a disk has no name, and is called data."""
    return runs_root() / (data.resolve().name or "data")
