"""A split that is there already: new images come, others go, and none of the old ones changes its part."""
import pytest
from commands import here
from crops import manifest_of, save_strips
from PIL import Image

from stablesdg.data.deal import join_groups
from stablesdg.data.folders import list_images
from stablesdg.data.images import save_image
from stablesdg.data.split import load_split
from stablesdg.prior.textures import draw
from stablesdg.storage.errors import UserError


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

    (strips / "set" / "Pa" / "later.png").unlink()
    with pytest.raises(UserError, match="Pa/later.png first.*gone.*--forget"):
        load_split(strips / "runs" / "set" / "split.json", [strips / "set" / "Pa"])
    out = here(strips, "-m", "stablesdg.split", "set", "--check")
    assert "gone since the split was made: 1 image (Pa/later.png first)" in out
    assert "Pa/later.png" in here(strips, "-m", "stablesdg.split", "set", "--forget")
    assert manifest_of(strips).keys() == files.keys() - {"Pa/later.png"}


def test_an_image_between_two_parts_is_named_and_lies_in_the_training_part():
    parts = {"a/1": "train", "a/2": "test", "a/3": "val"}
    split = {"method": "group", "seed": 0, "ratios": [8, 1, 1],
             "files": {name: {"sha256": name, "group": name, "part": part} for name, part in parts.items()}}
    torn = join_groups(split, ["b/1", "b/2"], [("b/1", "b/2")], [("a/1", "b/1"), ("a/2", "b/2")])
    assert torn.groups == {"b/1": "a/1", "b/2": "a/1"} and torn.fixed == {"a/1": "train"}
    assert torn.between == {"b/1", "b/2"}
    torn = join_groups(split, ["b/1"], [], [("a/2", "b/1"), ("a/3", "b/1")])
    assert torn.groups == {"b/1": "b/1"} and torn.fixed == {"b/1": "train"} and torn.between == {"b/1"}
    whole = join_groups(split, ["b/1", "b/2"], [("b/1", "b/2")], [("a/2", "b/2")])
    assert whole.groups == {"b/1": "a/2", "b/2": "a/2"} and whole.fixed == {"a/2": "test"} and not whole.between


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
