"""The virtual environment that the two commands make, and the console command."""
import subprocess
import sys
from pathlib import PurePosixPath, PureWindowsPath
from types import SimpleNamespace

import pytest
from conftest import ROOT

from stablesdg.app import environment
from stablesdg.app.commands import demo


def test_the_interpreter_lies_where_each_system_has_it():
    assert environment.environment_python(PureWindowsPath("C:/steel/.venv"), True) == PureWindowsPath(
        r"C:\steel\.venv\Scripts\python.exe")
    assert environment.environment_python(PurePosixPath("/home/me/.venv"), False) == PurePosixPath(
        "/home/me/.venv/bin/python")


def test_requirements_are_installed_once_and_again_after_they_change(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(environment.venv, "create", lambda folder, with_pip: folder.mkdir(exist_ok=True))
    monkeypatch.setattr(environment.subprocess, "run", lambda command, **options: calls.append(command)
                        or SimpleNamespace(returncode=0))
    (tmp_path / "requirements.txt").write_text("torch\n")
    for _ in range(2):
        environment.ensure_environment(root=tmp_path)
    assert len(calls) == 1 and calls[0][-2:] == ["-r", "requirements.txt"]
    (tmp_path / "requirements.txt").write_text("torch\ntqdm\n")
    environment.ensure_environment(root=tmp_path)
    assert len(calls) == 2


def test_a_venv_that_cannot_be_made_is_taken_away_and_the_package_that_is_missing_named(tmp_path, monkeypatch):
    def half(folder, with_pip):
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").touch()
        raise subprocess.CalledProcessError(1, "ensurepip")

    monkeypatch.setattr(environment.venv, "create", half)
    (tmp_path / "requirements.txt").write_text("torch\n")
    with pytest.raises(SystemExit, match="install python3-venv"):
        environment.ensure_environment(root=tmp_path)
    assert not (tmp_path / ".venv").exists()


def test_packages_that_cannot_be_installed_are_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(environment.venv, "create", lambda folder, with_pip: folder.mkdir(exist_ok=True))
    monkeypatch.setattr(environment.subprocess, "run", lambda command, **options: SimpleNamespace(returncode=1))
    (tmp_path / "requirements.txt").write_text("torch\n")
    for _ in range(2):
        with pytest.raises(SystemExit, match="pip says why above"):
            environment.ensure_environment(root=tmp_path)


@pytest.mark.parametrize("command", ["demo", "test", "check"])
def test_an_old_python_is_told_so_before_any_file_that_it_cannot_read(command):
    code = f"import runpy, sys; sys.version_info = (3, 9, 1); runpy.run_module('stablesdg.{command}')"
    result = subprocess.run([sys.executable, "-X", "importtime", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1 and "error: Python 3.10 or newer is needed" in result.stderr
    assert "stablesdg.app" not in result.stderr


def test_the_demo_takes_a_folder_of_the_place_where_it_is_typed(tmp_path, monkeypatch):
    typed = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "run", lambda python, *command: typed.append(command))
    monkeypatch.setattr(demo, "ensure_environment", lambda: "python")
    for weights, expected in (([], "weights/nano"), (["--weights", "own"], str(tmp_path / "own"))):
        demo.main(["--data", "neu", *weights])
        assert typed[-1][:5] == ("expand.py", "--data", str(tmp_path / "neu"), "--weights", expected)


@pytest.mark.parametrize("command", ["train-lora", "train_lora", "split", "classify"])
def test_the_console_command_runs_stages_and_commands(command, tmp_path):
    code = (f"import sys; sys.argv = ['stablesdg', {command!r}, '--help']; "
            "from stablesdg.app.console import main; main()")
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)},
                            capture_output=True, text=True)
    assert result.returncode == 0 and "data" in result.stdout, result.stderr


def test_the_console_command_names_what_it_has(tmp_path):
    code = "import sys; sys.argv = ['stablesdg', 'bake']; from stablesdg.app.console import main; main()"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)},
                            capture_output=True, text=True)
    assert result.returncode == 1 and "has no command bake" in result.stderr and "train-lora" in result.stderr
