"""Command lines for the report: ready to be copied, with paths relative to the folder that the report was made in."""
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..recognise.frozen import FROZEN
from ..recognise.results import DEFAULT_ARGUMENTS
from ..recognise.verdicts import EXPERIMENT, TRAINING
from .read import Findings
from .verdict import EQUAL_IN_A_GAIN

SEEDS = 3
DECIDING_ARMS = ("none", "expand", "steps")  # of classify.py
LEFT_OUT = ("resume", "replace", "verdicts")  # of the arguments of a finished run: they do not change its result
OFF = {"finish_real": 0.0}  # arguments of a finished run that cannot be typed with this value
DEFAULT_ROOT = "runs"
# arguments of classify.py that results must share to be compared, or that would explain a gain
LIKE_TRAINING = (*EXPERIMENT, *TRAINING, *EQUAL_IN_A_GAIN, "pretrained")
USUAL = {**DEFAULT_ARGUMENTS, "network": "squeezenet", "alpha": 1, "epochs": 50}


def relative(path: Path | str) -> str:
    """A path as seen from the current folder, so that no absolute one of this machine stands in the report."""
    try:
        return Path(os.path.relpath(path)).as_posix()
    except ValueError:  # another drive of Windows
        return Path(path).name


def quoted(path: Path | str) -> str:
    """The relative path as a shell takes it."""
    return shlex.quote(relative(path))


def data_of(findings: Findings) -> str:
    """The folder of real images, quoted."""
    return quoted(findings.data) if findings.data else shlex.quote(findings.name)


def runs_of(findings: Findings) -> str:
    """` --runs FOLDER`, or "" where runs lie in runs/ of the current folder."""
    root = relative(findings.folder.resolve().parent)
    return "" if root == DEFAULT_ROOT else f" --runs {shlex.quote(root)}"


def split(findings: Findings, options: str = "") -> str:
    """python -m stablesdg.split .."""
    return f"python -m stablesdg.split {data_of(findings)}{options}{runs_of(findings)}"


def classify(findings: Findings, arm: str, options: str = "") -> str:
    """classify.py for one arm: none, expand, or steps."""
    generated = f" --generated {quoted(findings.folder)}"
    if findings.real_only:
        generated += f" --real-only {shlex.join(findings.real_only)}"
    arms = {"none": "--mode none", "expand": f"--mode expand{generated}", "steps": f"--control steps{generated}"}
    return (f"python classify.py --data {data_of(findings)} {arms[arm]}{trained_as_before(findings)} --seeds {SEEDS}"
            f"{options}{runs_of(findings)}")


def trained_as_before(findings: Findings) -> str:
    """The options of a trained network that there is a result of, so that the new one can be compared with it."""
    known = [one.setup.arguments for one in findings.results
             if one.setup.network not in FROZEN and not one.setup.arguments.get("imitate")]
    if not known:
        return ""
    own = {name: value for name, value in known[0].items() if name in LIKE_TRAINING and value != USUAL.get(name)}
    return as_run("classify", own).removeprefix("python classify.py")


def of_category(findings: Findings, name: str, script: str) -> str:
    """A stage of one category: train_ti, train_lora, tune or sample."""
    data = relative(findings.data / name) if findings.data else f"{findings.name}/{name}"
    where = (f"--data {shlex.quote(data)}" if script.startswith("train")
             else f"--run {quoted(findings.folder / name)}")
    return f"python {script}.py {where}{runs_of(findings)}"


def report(findings: Findings) -> str:
    """This report, made anew."""
    return f"python -m stablesdg.report {quoted(findings.folder)}"


def as_sampled(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of sample.py by the names that are typed: --from, and a range of s after one --strength."""
    typed = {"from" if name == "other" else name: value for name, value in arguments.items()}
    if typed.get("from"):
        typed.pop("data", None)  # which --from takes the place of
    if (high := typed.pop("strength_high", None)) is not None:
        typed["strength"] = [typed["strength"], high]
    return typed


def as_run(script: str, arguments: Mapping[str, Any]) -> str:
    """The command that a record of its arguments stands for, every one written out."""
    arguments = as_sampled(arguments) if script == "sample" else arguments
    has_epochs = not (arguments.get("steps") or arguments.get("network") in FROZEN)
    left_out = {*LEFT_OUT, *(() if has_epochs else ("epochs",))}
    parts = [f"python {script}.py"]
    for name, value in arguments.items():
        if value is None or value is False or value in ("", []) or name in left_out or OFF.get(name) == value:
            continue
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, str) and os.path.isabs(value):
            value = relative(value)
        texts = value if isinstance(value, list) else [value]
        parts.append(flag if value is True else f"{flag} {shlex.join(map(str, texts))}")
    return " ".join(parts)


def as_typed(command: str) -> str:
    """A command that was noted, with no absolute path of this machine in it."""
    try:
        words = shlex.split(command)
    except ValueError:  # a quotation that does not end: no command of expand.py
        return command
    return shlex.join(relative(word) if os.path.isabs(word) else word for word in words)
