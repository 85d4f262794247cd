"""python -m stablesdg.plan on drawn images: exit codes, what it writes and what it says."""
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from commands import here
from conftest import ROOT
from PIL import Image
from scipy.ndimage import gaussian_filter

from stablesdg.app.command_line import run_main
from stablesdg.app.commands import plan as command
from stablesdg.data.audit import audit_split
from stablesdg.data.links import choose
from stablesdg.data.split import load_split
from stablesdg.storage.runs import RUNS_VARIABLE

SIDE, SHIFT = 80, 24  # pixels


def strip(seed, width, grain):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(SIDE, width)), grain)
    return (128 + 40 * noise / noise.std()).clip(0, 255).astype(np.uint8)


def draw_data(folder, surfaces=8):
    """Two classes of different grain. Each surface is photographed twice, SHIFT apart."""
    for k, grain in (("coarse", 1.5), ("fine", 0.8)):
        (folder / k).mkdir(parents=True)
        for s in range(surfaces):
            long = strip(1000 * (k == "fine") + s, SIDE + SHIFT, grain)
            for n, left in enumerate((0, SHIFT)):
                Image.fromarray(long[:, left:left + SIDE]).save(folder / k / f"{s}-{n}.png")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw_data(tmp_path_factory.mktemp("plan") / "tiny")


@pytest.fixture(autouse=True)
def own_runs(tmp_path, monkeypatch):
    """--runs sets this variable for the process; after a test it is as it was."""
    monkeypatch.setenv(RUNS_VARIABLE, str(tmp_path / "runs"))


def run(capsys, *arguments):
    """(exit code, output, error output) of the command in this process."""
    code = 0
    try:
        run_main(lambda: command.main([str(a) for a in arguments]))
    except SystemExit as exit:
        code = exit.code
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_audit_makes_the_split_that_all_scripts_would_make(data, tmp_path):
    own = audit_split(data, tmp_path / "own.json", tmp_path / "links.json")
    theirs = load_split(tmp_path / "theirs.json", sorted(data.iterdir()))
    assert json.loads((tmp_path / "own.json").read_text()) == theirs
    assert own.parts == {name: entry["part"] for name, entry in theirs["files"].items()} and not own.leaked
    assert own.classes["fine"].images == 16 and own.classes["fine"].surfaces == 8 and own.shown["fine"]


def test_images_of_a_group_stay_one_surface_when_the_image_that_names_it_is_gone(data, tmp_path):
    files = tmp_path / "data"
    shutil.copytree(data, files)
    split = load_split(tmp_path / "split.json", sorted(files.iterdir()))
    group = next(entry["group"] for name, entry in split["files"].items() if entry["group"] != name)
    before = audit_split(files, tmp_path / "split.json", tmp_path / "links.json").classes[group.split("/")[0]]
    (files / group).unlink()
    here(tmp_path, "-m", "stablesdg.split", "data", "--out", tmp_path / "split.json", "--forget")
    found = audit_split(files, tmp_path / "split.json", tmp_path / "links.json").classes[group.split("/")[0]]
    assert (found.images, found.surfaces) == (before.images - 1, before.surfaces)


def test_a_second_audit_reads_what_the_split_found_and_draws_the_same_pairs(data, tmp_path, monkeypatch):
    here(tmp_path, "-m", "stablesdg.split", data, "--out", tmp_path / "split.json")
    first = audit_split(data, tmp_path / "split.json", tmp_path / "own-links.json")
    monkeypatch.setattr("stablesdg.data.links.search_links", None)
    second = audit_split(data, tmp_path / "split.json", tmp_path / "plan" / "links.json")
    assert second.as_json() == first.as_json()
    assert [[(o.first, o.second) for o in found.shown["fine"]] for found in (first, second)] == [
        [(p.first, p.second) for p in choose([p for p in first.links.overlaps if p.first.startswith("fine")])]] * 2


def test_the_plan_recommends_in_its_first_line_and_at_its_end_and_writes_its_figures(data, tmp_path, capsys):
    runs = tmp_path / "runs"
    code, out, _ = run(capsys, data, "--runs", runs, "--device", "cpu")
    assert code == 0
    lines = out.splitlines()
    headline = lines[0]
    assert headline.split(":")[0] in ("Do not generate", "Cannot be told")
    assert lines[lines.index("RECOMMENDATION") + 1] == headline
    figures = json.loads((runs / "tiny" / "plan" / "plan.json").read_text())
    assert figures["headline"] == headline and figures["audit"]["surfaces"] == 16
    assert [curve["name"] for curve in figures["curves"]][0] == "nano"
    assert {limit["bits"] for limit in figures["audit"]["hash"]} == {0, 5, 10}
    with Image.open(runs / "tiny" / "plan" / "learning-curve.png") as picture:
        assert picture.width > 400
    assert (runs / "tiny" / "plan" / "overlaps-fine.png").is_file() and (runs / "tiny" / "split.json").is_file()


def test_a_split_that_leaks_ends_with_2_and_exports_nothing(data, tmp_path, capsys):
    load_split(tmp_path / "runs" / "tiny" / "split.json", sorted(data.iterdir()), method="random")
    code, out, _ = run(capsys, data, "--audit-only", "--runs", tmp_path / "runs", "--export", tmp_path / "parts")
    assert code == 2 and "LEAK: " in out and "measures memory" in out and not (tmp_path / "parts").exists()


def test_an_error_ends_with_1_and_so_does_a_wrong_option(tmp_path, capsys):
    assert run(capsys, tmp_path / "nowhere", "--audit-only", "--runs", tmp_path)[0] == 1
    assert run(capsys, tmp_path, "--no-such-option")[0] == 1
    assert run(capsys, "--help")[0] == 0


def test_given_folders_are_told_apart_by_whether_they_leak(data, tmp_path, capsys):
    for part, surfaces in (("train", range(6)), ("clean", range(6, 8)), ("leaky", range(4, 8))):
        for k in ("coarse", "fine"):
            (tmp_path / "set" / part / k).mkdir(parents=True)
            for s in surfaces:
                for n in range(2):
                    if part != "train" or (s, n) not in ((4, 1), (5, 1)):
                        shutil.copy(data / k / f"{s}-{n}.png", tmp_path / "set" / part / k)
    assert run(capsys, tmp_path / "set", "--parts", "train", "clean", "--runs", tmp_path / "runs")[0] == 0
    code, out, _ = run(capsys, tmp_path / "set", "--parts", "train", "leaky", "--runs", tmp_path / "runs")
    assert code == 2 and "LEAK: 8 of the 16 images outside the training part of the given folders" in out


def test_the_export_holds_each_image_once_in_the_folder_of_its_part(data, tmp_path, capsys):
    out = tmp_path / "parts"
    assert run(capsys, data, "--audit-only", "--runs", tmp_path / "runs", "--export", out)[0] == 0
    split = json.loads((tmp_path / "runs" / "tiny" / "split.json").read_text())["files"]
    exported = {str(f.relative_to(out)) for f in out.glob("*/*/*")}
    assert exported == {f"{entry['part']}/{name}" for name, entry in split.items()}
    code, _, err = run(capsys, data, "--audit-only", "--runs", tmp_path / "runs", "--export", out)
    assert code == 1 and "is not empty" in err


def test_odd_files_are_named(data, tmp_path, capsys):
    odd = tmp_path / "odd"
    shutil.copytree(data, odd)
    for file in (odd / "fine").iterdir():
        Image.open(file).convert("RGB").save(file.with_suffix(".jpg"))
        file.unlink()
    (odd / "coarse" / "Thumbs.db").write_bytes(b"x")
    Image.new("L", (SIDE, SIDE), 7).save(odd / "coarse" / "flat.png")
    _, out, _ = run(capsys, odd, "--audit-only", "--runs", tmp_path / "runs")
    assert "The codec tells classes apart (PNG: coarse; JPEG: fine)" in out and "The mode tells classes apart" in out
    assert "1 file of coarse is not read as an image (Thumbs.db)" in out
    assert "1 image shows nothing but one gray level" in out and "16 images are gray and stored in colour" in out
    (odd / "coarse" / "broken.png").write_bytes(b"no image")
    code, _, err = run(capsys, odd, "--audit-only", "--runs", tmp_path / "more")
    assert code == 1 and "broken.png cannot be read" in err


NO_TORCH = """
import importlib.abc
import sys


class NotInstalled(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "torchvision"):
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, NotInstalled())
from stablesdg.app.commands import plan
plan.main(sys.argv[1:])
assert "torch" not in sys.modules
"""


def test_the_audit_needs_no_torch(data, tmp_path):
    result = subprocess.run([sys.executable, "-c", NO_TORCH, data, "--audit-only", "--runs", tmp_path / "runs"],
                            cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "LEAK: none found among images that overlap" in result.stdout
