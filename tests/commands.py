"""Three ways to run a script in a test."""
import contextlib
import importlib
import io
import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT

from stablesdg.app.command_line import run_main

FLOAT32 = ["--device", "cpu", "--dtype", "float32"]
TRAINING = ["--iterations", "6", "--batch-size", "2", "--resolution", "32", *FLOAT32]


def call(cwd, *command, ok=True):
    """Run a script with its arguments in `cwd`, as a process of its own. Returns what it printed."""
    script = [str(ROOT / command[0])] if command[0].endswith(".py") else [command[0]]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, *script, *map(str, command[1:])], cwd=cwd, env=environment,
                            capture_output=True, text=True)
    assert (result.returncode == 0) == ok, result.stdout + result.stderr
    return result.stdout if ok else result.stderr


def here(cwd, *command, ok=True):
    """The same in this process, which saves the seconds of importing. Exit code and output are the same."""
    command = command[1:] if command[0] == "-m" else command
    module = importlib.import_module(command[0].removesuffix(".py"))
    out, err = io.StringIO(), io.StringIO()
    before, code = os.getcwd(), 0
    os.chdir(cwd)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            run_main(lambda: module.main([str(a) for a in command[1:]]))
    except SystemExit as exit:
        code = exit.code
    finally:
        os.chdir(before)
    assert (code == 0) == ok, out.getvalue() + err.getvalue()
    return out.getvalue() if ok else err.getvalue()


def torchrun(place, n, commands, ok=True):
    """Run commands in n processes. Returns what they printed."""
    if sys.platform == "win32":
        pytest.skip("PyTorch for Windows comes without the library that torchrun needs")
    (place / f"commands-{n}.json").write_text(json.dumps(commands))
    result = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={n}",
         str(ROOT / "tests" / "in_turn.py"), f"commands-{n}.json"], cwd=place, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, timeout=300)
    assert (result.returncode == 0) == ok, result.stdout + result.stderr
    return result.stdout if ok else result.stderr
