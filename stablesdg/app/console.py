"""The console command `stablesdg`: `stablesdg sample --strength 0.4` is `python sample.py --strength 0.4`."""
import runpy
import sys

from .environment import ROOT

SCRIPTS = ("train_ti", "train_lora", "sample", "fid", "classify", "tune", "expand")
COMMANDS = ("plan", "split", "prepare", "download", "steel", "cells", "demo", "test", "check", "report", "rivals",
            "prior")


def main() -> None:
    """Run a stage or another command."""
    known = [name.replace("_", "-") for name in (*SCRIPTS, *COMMANDS)]
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(f"usage: stablesdg COMMAND ...\n\ncommands: {', '.join(known)}\nstablesdg COMMAND --help says more.")
        return
    name = sys.argv[1].replace("-", "_")
    if name not in (*SCRIPTS, *COMMANDS):
        sys.exit(f"error: stablesdg has no command {sys.argv[1]}: it has {', '.join(known)}.")
    sys.argv = [f"stablesdg {sys.argv[1]}", *sys.argv[2:]]
    if name in COMMANDS:
        runpy.run_module(f"stablesdg.{name}", run_name="__main__")
    elif (script := ROOT / f"{name}.py").is_file():
        runpy.run_path(str(script), run_name="__main__")
    else:
        sys.exit(f"error: {script} is not there: install with pip install -e . in a clone of the project.")
