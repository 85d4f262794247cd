"""A split that is there already: new images come, others go, and none of the old ones changes its part."""
import json

import pytest
from commands import here
from crops import crops, grounds, manifest_of, save_strips
from PIL import Image

from stablesdg.data.deal import join_groups
from stablesdg.data.folders import list_images
from stablesdg.data.images import save_image
from stablesdg.data.split import load_split, part_files, refuse_leak
from stablesdg.prior.textures import draw
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import read_json


@pytest.fixture
def strips(tmp_path):
    save_strips(tmp_path / "set" / "Pa")
    return tmp_path


def test_new_images_join_the_part_of_their_surface_and_images_that_are_gone_leave_the_split(strips):
    here(strips, "-m", "stablesdg.split", "set")
    before = manifest_of(strips)
    tested = next(name for name in sorted(before) if before[name]["part"] == "test" and name.endswith("_0.png"))
    crop = Image.open(strips / "set" / tested).crop((10, 10, 90, 90))
    save_image(strips / "set" / "Pa" / "later.png", crop)
    save_image(strips / "set" / "Pa" / "other.png", Image.fromarray(draw(30_000, side=96).image))
    with pytest.raises(UserError, match="Pa/later.png first.*--add"):
        load_split(strips / "runs" / "set" / "split.json", [strips / "set" / "Pa"])
    out = here(strips, "-m", "stablesdg.split", "set", "--add")
    assert "added to Pa: 1 train, 1 test" in out and "1 of them show surface that the split knows" in out
    files = manifest_of(strips)
    assert files["Pa/later.png"] == {**files["Pa/later.png"], "part": "test", "group": before[tested]["group"]}
    assert files["Pa/other.png"]["part"] == "train" and {name: files[name] for name in before} == before
    assert "no image is new" in here(strips, "-m", "stablesdg.split", "set", "--add")
    save_image(strips / "set" / "Pa" / "asked.png", Image.fromarray(draw(30_001, side=96).image))
    assert "added to Pa: 1 test" in here(strips, "-m", "stablesdg.split", "set", "--add", "--to", "test")
    assert "belongs to --add" in here(strips, "-m", "stablesdg.split", "set", "--to", "test", ok=False)
    (strips / "set" / "Pa" / "asked.png").unlink()
    here(strips, "-m", "stablesdg.split", "set", "--forget")

    (strips / "set" / "Pa" / "later.png").unlink()
    with pytest.raises(UserError, match="Pa/later.png first.*gone.*--forget"):
        load_split(strips / "runs" / "set" / "split.json", [strips / "set" / "Pa"])
    out = here(strips, "-m", "stablesdg.split", "set", "--check")
    assert "gone since the split was made: 1 image (Pa/later.png first)" in out
    assert "Pa/later.png" in here(strips, "-m", "stablesdg.split", "set", "--forget")
    assert manifest_of(strips).keys() == files.keys() - {"Pa/later.png"}


def split_of(**parts):
    files = {f"a/{name}": {"sha256": name, "group": f"a/{name}", "part": part} for name, part in parts.items()}
    return {"method": "group", "seed": 0, "ratios": [8, 1, 1], "files": files}


def test_a_new_image_that_would_connect_two_parts_is_left_out_of_all_and_the_rest_of_its_chain_is_not():
    split = split_of(i1="train", i2="test", i3="val")
    torn = join_groups(split, ["b/1", "b/2"], [("b/1", "b/2")], [("a/i1", "b/1"), ("a/i2", "b/2")])
    assert torn.groups == {"b/1": "a/i1"} and torn.fixed == {"a/i1": "train"}
    assert torn.left_out == {"b/2": "shares surface with a/i2 of the test part and connects it with the train part"}
    torn = join_groups(split, ["b/1"], [], [("a/i2", "b/1"), ("a/i3", "b/1")])
    assert torn.groups == {} and list(torn.left_out) == ["b/1"] and "a/i3 of the val part" in torn.left_out["b/1"]
    chain = [("b/1", "b/2"), ("b/2", "b/3")]  # its middle touches nothing that is known
    torn = join_groups(split, ["b/1", "b/2", "b/3", "b/4"], chain, [("a/i1", "b/1"), ("a/i2", "b/3"), ("a/i2", "b/4")])
    assert torn.groups == {"b/1": "a/i1", "b/2": "a/i1", "b/4": "a/i2"} and list(torn.left_out) == ["b/3"]


def test_a_chain_of_new_images_beside_one_part_goes_there_as_a_whole():
    whole = join_groups(split_of(i1="train", i2="test"), ["b/1", "b/2"], [("b/1", "b/2")], [("a/i2", "b/2")])
    assert whole.groups == {"b/1": "a/i2", "b/2": "a/i2"} and whole.fixed == {"a/i2": "test"} and not whole.left_out


def test_add_leaves_out_an_image_between_two_parts_and_no_old_image_changes_its_part(strips):
    """Two strips of one long ground lie in two parts; a new image shows the surface between them."""
    folder = strips / "set" / "Pa"
    ground = next(ground for ground in grounds(["grainy"], 400, first=9000))
    for name, x in (("left", 0), ("right", 200)):
        save_image(folder / f"{name}.png", crops(ground, [(0, x)])[0])
    manifest = strips / "runs" / "set" / "split.json"
    here(strips, "-m", "stablesdg.split", "set")
    written = json.loads(manifest.read_text())
    written["files"]["Pa/left.png"]["part"], written["files"]["Pa/right.png"]["part"] = "train", "test"
    manifest.write_text(json.dumps(written))
    before = manifest_of(strips)
    save_image(folder / "bridge.png", crops(ground, [(0, 60)], side=176)[0])
    out = here(strips, "-m", "stablesdg.split", "set", "--add")
    why = "shares surface with Pa/right.png of the test part and connects it with the train part"
    assert f"left out of all parts: 1 image. Pa/bridge.png {why}." in out
    entry = manifest_of(strips)["Pa/bridge.png"]
    assert (entry["part"], entry["why"]) == ("left-out", why)
    assert {name: manifest_of(strips)[name] for name in before} == before
    parts = {part: part_files(read_json(manifest), folder, part) for part in ("train", "val", "test")}
    assert all(folder / "bridge.png" not in files for files in parts.values())
    with pytest.raises(UserError, match="Pa/bridge.png, which is in the left-out part"):
        refuse_leak([entry["sha256"]], read_json(manifest), "A generator")
    assert "no image is new" in here(strips, "-m", "stablesdg.split", "set", "--add")
    out = here(strips, "-m", "stablesdg.split", "set", "--check")
    assert "left out of all parts: 1 image (Pa/bridge.png first)" in out and "0 of 4 test" in out.splitlines()[-1]


def test_new_copies_join_their_part_in_a_random_split_and_other_new_images_are_for_training(tmp_path):
    for i in range(20):
        save_image(tmp_path / "set" / "Pa" / f"{i:02d}.png", Image.fromarray(draw(i, side=32).image))
    here(tmp_path, "-m", "stablesdg.split", "set", "--split", "random")
    before = manifest_of(tmp_path)
    tested = next(name for name in before if before[name]["part"] == "test")
    (tmp_path / "set" / "Pa" / "copy.png").write_bytes((tmp_path / "set" / tested).read_bytes())
    save_image(tmp_path / "set" / "Pa" / "new.png", Image.fromarray(draw(99, side=32).image))
    save_image(tmp_path / "set" / "Sc" / "0.png", Image.fromarray(draw(98, side=32).image))
    here(tmp_path, "-m", "stablesdg.split", "set", "--add")
    files = manifest_of(tmp_path)
    assert files["Pa/copy.png"]["part"] == "test" and files["Pa/new.png"]["part"] == "train" and "Sc/0.png" in files
    assert {name: files[name] for name in before} == before


def test_a_folder_without_any_listed_image_is_not_forgotten(tmp_path):
    for i in range(4):
        save_image(tmp_path / "set" / "a" / f"{i}.png", Image.fromarray(draw(i, side=32).image))
    here(tmp_path, "-m", "stablesdg.split", "set")
    for file in list_images(tmp_path / "set" / "a"):
        file.rename(file.with_name(f"renamed-{file.name}"))
    assert "is it the right folder" in here(tmp_path, "-m", "stablesdg.split", "set", "--forget", ok=False)
    assert len(manifest_of(tmp_path)) == 4
