"""The folder that holds all runs."""
import os
from pathlib import Path

RUNS_VARIABLE = "STABLESDG_RUNS"  # the environment variable; --runs sets it


def runs_root() -> Path:
    """The folder named by STABLESDG_RUNS, or else runs/ in the current folder."""
    return Path(os.environ.get(RUNS_VARIABLE) or "runs")
