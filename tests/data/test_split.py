"""A split keeps images that share surface together, within a class and across classes."""
import json

import numpy as np
import pytest
from commands import here
from crops import crops, grounds, manifest_of, save_strips
from PIL import Image

from stablesdg.data.images import save_image
from stablesdg.data.parts import group_parts
from stablesdg.data.split import load_split
from stablesdg.prior.textures import draw
from stablesdg.storage.errors import UserError
from stablesdg.storage.lock import alone_at


@pytest.fixture
def strips(tmp_path):
    save_strips(tmp_path / "set" / "Pa")
    return tmp_path


def test_a_group_lies_in_one_part_and_parts_have_their_shares():
    groups = {f"c/{i:03d}.png": f"c/{i // 3 * 3:03d}.png" for i in range(150)}
    groups |= {f"c/{i}.png": "c/150.png" for i in range(150, 250)}
    parts = group_parts(groups, seed=0)
    assert all(len({parts[n] for n in groups if groups[n] == group}) == 1 for group in set(groups.values()))
    counts = [list(parts.values()).count(part) for part in ("train", "val", "test")]
    assert counts[0] >= 200 and all(23 <= n <= 25 for n in counts[1:])
    assert group_parts(groups, seed=0) == parts != group_parts(groups, seed=1)


def test_the_split_command_keeps_strips_together_and_check_reports_the_leak_of_a_random_split(strips):
    made = here(strips, "-m", "stablesdg.split", "set")
    assert made.startswith("comparing the images of set\n") and "10 groups" in made
    assert "comparing" not in here(strips, "-m", "stablesdg.split", "set")
    manifest = json.loads((strips / "runs" / "set" / "split.json").read_text())
    parts = {name: entry["part"] for name, entry in manifest["files"].items()}
    for s in range(10):
        assert len({parts[f"Pa/{s}_{k}.png"] for k in range(3)}) == 1
        assert {manifest["files"][f"Pa/{s}_{k}.png"]["group"] for k in range(3)} == {f"Pa/{s}_0.png"}
    assert "0 of 3 test" in here(strips, "-m", "stablesdg.split", "set", "--check").splitlines()[-1]
    assert "not a random one" in here(strips, "-m", "stablesdg.split", "set", "--split", "random", ok=False)
    here(strips, "-m", "stablesdg.split", "set", "--split", "random", "--replace")
    out = here(strips, "-m", "stablesdg.split", "set", "--check").splitlines()
    assert out[-1].startswith("in all: ") and "0 of 3 test" not in out[-1]
    assert "random split" in here(strips, "-m", "stablesdg.split", "set", "--replace")


@pytest.mark.parametrize("ratios", [(0, 1, 1), (0, 0, 0), (8, -1, 1)])
def test_ratios_that_leave_nothing_to_train_on_are_refused(strips, ratios):
    assert "--ratios takes" in here(strips, "-m", "stablesdg.split", "set", "--ratios", *ratios, ok=False)


def test_three_groups_larger_than_a_part_still_fill_all_parts():
    for photographs, tiles in ((8, 6), (3, 12), (9, 8)):
        groups = {f"c/{p}_{k}.png": f"c/{p}_0.png" for p in range(photographs) for k in range(tiles)}
        parts = group_parts(groups, seed=0)
        assert sorted(set(parts.values())) == ["test", "train", "val"]
        assert all(len({parts[n] for n in groups if groups[n] == group}) == 1 for group in set(groups.values()))


def test_one_picture_twice_in_a_class_stays_together_and_in_two_classes_is_named(tmp_path):
    for i in range(12):
        save_image(tmp_path / "set" / "Pa" / f"{i}.png", Image.fromarray(draw(i // 2, side=32).image))
    here(tmp_path, "-m", "stablesdg.split", "set", "--split", "random")
    files = json.loads((tmp_path / "runs" / "set" / "split.json").read_text())["files"]
    assert all(files[f"Pa/{i}.png"]["part"] == files[f"Pa/{i + 1}.png"]["part"] for i in range(0, 12, 2))
    for i in range(6):
        save_image(tmp_path / "set" / "Sc" / f"{i + 20}.png", Image.fromarray(draw(i, side=32).image))
    before = json.loads((tmp_path / "runs" / "set" / "split.json").read_text())["files"]
    error = here(tmp_path, "-m", "stablesdg.split", "set", ok=False)
    assert "one picture in two classes" in error and before == files


def test_an_image_that_cannot_be_read_stops_the_split_before_it_is_written(strips):
    (strips / "set" / "Pa" / "broken.png").write_bytes(b"no image")
    assert "broken.png" in here(strips, "-m", "stablesdg.split", "set", ok=False)
    assert not (strips / "runs").exists()


def test_a_class_of_one_surface_is_said_to_leave_no_image_for_the_test(tmp_path):
    ground = np.asarray(draw(5, side=160).image)
    for i in range(4):
        save_image(tmp_path / "data" / "part" / f"{i}.png", Image.fromarray(ground[i:i + 128, 2 * i:2 * i + 128]))
    out = here(tmp_path, "-m", "stablesdg.split", "data")
    assert "part has no val and no test images, because its 4 images show 1 surface; --split random" in out


@pytest.fixture
def cut_strip(tmp_path):
    """Two classes of twelve surfaces each; the strip 0 of class a goes on as image 0 of class b."""
    for name, first in (("a", 100), ("b", 20_000)):
        for i in range(12):
            save_image(tmp_path / "set" / name / f"{i:02d}.png",
                       crops(draw(first + i, side=160).image.mean(-1), [(0, 0)])[0])
    strip = grounds(["grainy"], 200)[0]
    for name, x in (("a", 0), ("b", 50)):
        save_image(tmp_path / "set" / name / "00.png", crops(strip, [(0, x)])[0])
    return tmp_path


def test_a_strip_cut_into_two_classes_lies_in_one_part_whether_they_come_together_or_one_by_one(cut_strip):
    for seed in ("0", "1", "2"):
        out = here(cut_strip, "-m", "stablesdg.split", "set", "--seed", seed, "--replace")
        assert "split of b: " in out and "sharing surface with images of a, and in their part: 1 image" in out
        files = manifest_of(cut_strip)
        assert files["a/00.png"]["part"] == files["b/00.png"]["part"] and files["b/00.png"]["group"] == "a/00.png"
    for order in ("ab", "ba"):
        manifest = cut_strip / f"{order}.json"
        for name in order:
            files = load_split(manifest, [cut_strip / "set" / name])["files"]
        assert files["a/00.png"]["part"] == files["b/00.png"]["part"]
        assert files["a/00.png"]["group"] == files["b/00.png"]["group"] == f"{order[0]}/00.png"
    here(cut_strip, "-m", "stablesdg.split", "set", "--split", "random", "--replace")
    out = here(cut_strip, "-m", "stablesdg.split", "set", "--check")
    assert "across classes: 1 overlapping pairs (0 false ones" in out
    assert (cut_strip / "runs" / "set" / "overlaps-across.png").is_file()


def test_one_picture_in_two_classes_is_named_and_lies_in_one_part(cut_strip):
    picture = Image.open(cut_strip / "set" / "a" / "05.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    save_image(cut_strip / "set" / "b" / "30.png", picture)
    out = here(cut_strip, "-m", "stablesdg.split", "set")
    assert "warning: 1 picture in two classes, a/05.png and b/30.png first: which is it?" in out
    files = manifest_of(cut_strip)
    assert files["a/05.png"]["part"] == files["b/30.png"]["part"]


def test_an_existing_split_is_not_passed_over_in_silence_when_other_settings_are_asked_for(strips):
    here(strips, "-m", "stablesdg.split", "set")
    ratios = ["--ratios", "4", "2", "4"]
    for asked in (ratios, ["--seed", "1"], ["--split", "random"], ["--check", *ratios]):
        error = here(strips, "-m", "stablesdg.split", "set", *asked, ok=False)
        assert "--replace" in error and "--ratios 8 1 1 and --seed 0" in error
    assert "30 images" in here(strips, "-m", "stablesdg.split", "set", "--ratios", "8", "1", "1", "--seed", "0")


def test_a_split_made_anew_keeps_ratios_and_seed_unless_others_are_asked_for(strips):
    here(strips, "-m", "stablesdg.split", "set", "--ratios", "4", "2", "4", "--seed", "3")
    here(strips, "-m", "stablesdg.split", "set", "--replace")
    split = json.loads((strips / "runs" / "set" / "split.json").read_text())
    assert split["ratios"] == [4, 2, 4] and split["seed"] == 3
    here(strips, "-m", "stablesdg.split", "set", "--replace", "--ratios", "8", "1", "1")
    assert json.loads((strips / "runs" / "set" / "split.json").read_text())["ratios"] == [8, 1, 1]


def test_check_draws_the_overlapping_pairs_of_a_class(strips):
    here(strips, "-m", "stablesdg.split", "set")
    assert "overlaps-Pa.png: 6 overlapping pairs" in here(strips, "-m", "stablesdg.split", "set", "--check")
    assert Image.open(strips / "runs" / "set" / "overlaps-Pa.png").height > 6 * 96


def test_pairs_whose_scale_is_unknown_are_counted(tmp_path):
    for i, side in enumerate((100, 100, 600, 600)):
        save_image(tmp_path / "set" / "a" / f"{i}.png", Image.fromarray(draw(i, side=side).image))
    assert "4 pairs of images are not compared" in here(tmp_path, "-m", "stablesdg.split", "set")


def test_a_part_fixed_by_another_class_takes_its_share():
    groups = {f"b/{i:02d}": f"b/{i:02d}" for i in range(20)} | {"b/20": "a/0", "b/21": "a/0"}
    parts = group_parts(groups, seed=0, fixed={"a/0": "test"})
    assert parts["b/20"] == parts["b/21"] == "test" and list(parts.values()).count("test") == 2
    assert group_parts(groups, seed=0) == group_parts(groups, seed=0, fixed={})


def test_two_runs_do_not_write_one_manifest_at_once_and_reading_it_needs_no_lock(strips):
    """Whoever writes split.json holds it alone. A training of a class that it knows only reads it."""
    manifest = strips / "runs" / "set" / "split.json"
    commands = (["--split", "random"], ["--replace"], ["--add"], ["--forget"])
    save_image(strips / "set" / "Sc" / "0.png", Image.fromarray(np.eye(40, dtype=np.uint8) * 200))
    with alone_at(manifest):
        assert "Another run is at work in" in here(strips, "-m", "stablesdg.split", "set", *commands[0], ok=False)
    here(strips, "-m", "stablesdg.split", "set", *commands[0])
    before = manifest.read_bytes()
    save_image(strips / "set" / "In" / "0.png", Image.fromarray(np.eye(50, dtype=np.uint8) * 200))
    with alone_at(manifest):
        for command in commands[1:]:
            assert "Another run is at work in" in here(strips, "-m", "stablesdg.split", "set", *command, ok=False)
        with pytest.raises(UserError, match="Another run is at work"):  # as a training of the new class does
            load_split(manifest, [strips / "set" / "In"])
        assert load_split(manifest, [strips / "set" / "Pa"])["files"].keys() == json.loads(before)["files"].keys()
    assert manifest.read_bytes() == before and not list(manifest.parent.glob(".split*"))


def test_a_manifest_that_another_run_extends_while_this_one_waits_keeps_both_classes(strips, monkeypatch):
    from stablesdg.data import split

    manifest, deal = strips / "runs" / "set" / "split.json", split.known_and_new
    save_image(strips / "set" / "Sc" / "0.png", Image.fromarray(np.eye(40, dtype=np.uint8) * 200))

    def overtaken(*arguments):
        """The other run ends after this one has read the manifest, and before it has the lock."""
        found = deal(*arguments)
        monkeypatch.setattr(split, "known_and_new", deal)
        load_split(manifest, [strips / "set" / "Sc"], "random")
        return found

    monkeypatch.setattr(split, "known_and_new", overtaken)
    load_split(manifest, [strips / "set" / "Pa"])
    assert {name[:2] for name in json.loads(manifest.read_text())["files"]} == {"Pa", "Sc"}
