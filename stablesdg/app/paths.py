"""Where a run's files lie."""
from pathlib import Path

RUNS = Path("runs")


def run_folder(data: Path, out: Path | None = None) -> Path:
    """runs/DATASET/CATEGORY for the folder DATASET/CATEGORY, or `out`."""
    data = data.resolve()
    return out or RUNS / (data.parent.name or "data") / data.name


def split_file(data: Path) -> Path:
    """runs/DATASET/split.json for the category folder DATASET/CATEGORY. All scripts use it, whatever --out is."""
    return RUNS / (data.resolve().parent.name or "data") / "split.json"
