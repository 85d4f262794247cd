"""Run scripts one after the other, in each process that torchrun starts: in_turn.py COMMANDS.json.

The file holds a list of commands, each a list of a script and its arguments. A command ["die", K] ends process K in the
third step of the next training, and lets checkpoints be written every two steps.
"""
import importlib
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stablesdg import train
from stablesdg.app.command_line import run_main


def die_in_third_step(process):
    """Let a process end as if its machine had gone."""
    indices = train.batch_indices

    def indices_or_death(step, *others):
        if step == 2 and int(os.environ["RANK"]) == process:
            os._exit(9)
        return indices(step, *others)

    train.batch_indices, train.LOG_STEPS = indices_or_death, 2


def main():
    for script, *arguments in json.loads(Path(sys.argv[1]).read_text()):
        if script == "die":
            die_in_third_step(*arguments)
        else:
            importlib.import_module(script.removesuffix(".py")).main(arguments)


run_main(main)
