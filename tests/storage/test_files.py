"""A file or a folder appears whole or not at all, also if the power fails between two calls."""
import os
import shutil
from pathlib import Path

import pytest

from stablesdg.storage import files
from stablesdg.storage.files import atomic_folder, atomic_path, partial_folder, replace_folder, write_json


@pytest.fixture
def calls(monkeypatch):
    """What reaches the disk, in its order: ("fsync", path) and ("replace", from, to)."""
    noted, fsync, replace = [], os.fsync, os.replace

    def note_fsync(handle):
        noted.append(("fsync", Path(os.readlink(f"/proc/self/fd/{handle}"))))
        fsync(handle)

    def note_replace(source, target):
        noted.append(("replace", Path(source), Path(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    return noted


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="asks Linux for the name of an open file")


@needs_proc
def test_content_comes_before_the_name_and_the_name_before_the_end(tmp_path, calls):
    write_json(tmp_path / "run.json", {"a": 1})
    (first, temporary), (second, source, target), (third, folder) = calls
    assert (first, second, third) == ("fsync", "replace", "fsync")
    assert temporary == source and target == tmp_path / "run.json" and folder == tmp_path


@needs_proc
def test_a_folder_takes_its_place_after_all_its_files_and_its_names_are_on_the_disk(tmp_path, calls):
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out") as partial:
        (partial / "inside").mkdir()
        (partial / "a.txt").write_text("a")
        (partial / "inside" / "b.txt").write_text("b")
    moves = [i for i, call in enumerate(calls) if call[0] == "replace"]
    former = tmp_path / ".out.former"
    assert [calls[i][1:] for i in moves] == [(tmp_path / "out", former), (partial, tmp_path / "out")]
    flushed = {call[1] for call in calls[:moves[0]]}
    assert flushed == {partial, partial / "a.txt", partial / "inside", partial / "inside" / "b.txt"}
    assert calls[-1] == ("fsync", tmp_path) and not former.exists() and not partial.exists()


def test_a_file_that_cannot_be_put_in_its_place_leaves_the_former_one_whole(tmp_path, monkeypatch):
    write_json(tmp_path / "run.json", 1)
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_json(tmp_path / "run.json", 2)
    assert files.read_json(tmp_path / "run.json") == 1 and len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_put_in_its_place_leaves_the_former_one_whole(tmp_path, monkeypatch):
    out, replace = tmp_path / "out", os.replace
    out.mkdir()
    (out / "old").touch()
    partial_folder(out).mkdir()

    def refuse(source, target):
        if Path(source) == partial_folder(out):
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        replace_folder(partial_folder(out), out)
    assert (out / "old").is_file() and partial_folder(out).is_dir() and not (tmp_path / ".out.former").exists()


def test_what_a_call_left_that_was_killed_between_two_names_is_in_nobodys_way(tmp_path):
    former = tmp_path / ".out.former"
    former.mkdir()
    (former / "old").touch()
    with atomic_folder(tmp_path / "out") as partial:
        (partial / "new").touch()
    assert [file.name for file in tmp_path.iterdir()] == ["out"] and (tmp_path / "out" / "new").is_file()


def test_a_folder_that_vanishes_while_a_file_is_written_is_said_and_nothing_appears(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(OSError), atomic_path(folder / "file.txt"):
        shutil.rmtree(folder)
    assert not folder.exists()
