"""Fixtures of the tests of classify.py: a working directory with real and generated images."""
import shutil

import pytest

from stablesdg.app.commands import steel as steel_command


@pytest.fixture(scope="module", name="place")
def make_place(tmp_path_factory, steel):
    """A working directory with images in steel/."""
    place = tmp_path_factory.mktemp("place")
    shutil.copytree(steel, place / "steel")
    return place


@pytest.fixture(scope="module", name="generated")
def make_generated(place, tmp_path_factory):
    """Folders of class folders as sample.py leaves them: twelve images each, and as many copies."""
    other = tmp_path_factory.mktemp("other") / "steel"
    steel_command.main([str(other), "--number", "12", "--seed", "1"])
    for name in ("patches", "pits", "scratches"):
        for samples in ("samples", "copies"):
            shutil.copytree(other / name, place / "generated" / name / samples)
    return ["--generated", "generated"]
