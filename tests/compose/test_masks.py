"""Found masks hit what was drawn; given masks and boxes are read as they were written."""
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from stablesdg.compose.given import read_boxes, read_masks
from stablesdg.compose.labels import Box, parts_of, write_labels
from stablesdg.compose.masks import find_mask, grow
from stablesdg.data import steel
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import write_json


def ground(seed=0):
    return steel.surface(np.random.default_rng(seed))


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("seed", range(3))
def test_a_square_that_was_drawn_is_found(seed):
    truth = np.zeros((200, 200), dtype=bool)
    truth[60:100, 120:150] = True
    found = find_mask((ground(seed) - 0.4 * truth).clip(0, 1), 0)
    assert overlap(found.area, truth) > 0.7 and found.kind in ("tones", "saliency")


@pytest.mark.parametrize("seed", range(3))
def test_a_line_that_was_drawn_is_found(seed):
    truth = np.zeros((200, 200), dtype=bool)
    truth[20:180, 100:104] = True
    found = find_mask((ground(seed) + 0.3 * gaussian_filter(truth.astype(float), 1)).clip(0, 1), 0)
    assert found.kind == "saliency" and found.area[truth].mean() > 0.95
    assert overlap(found.area, grow(truth, 4)) > 0.5  # a mask takes in some of the ground beside a thin line


@pytest.mark.parametrize("size", [(200, 400), (200, 600), (256, 1280)])
def test_small_defects_in_a_long_image_do_not_make_an_empty_mask(size):
    dots = np.zeros(size)
    dots[20::24, 20::24] = 1
    dots = gaussian_filter(dots, 1.5)
    noise = 0.01 * np.random.default_rng(0).standard_normal(size)
    found = find_mask((0.6 - 0.4 * dots / dots.max() + noise).clip(0, 1), 0)
    assert found.kind in ("tones", "saliency") and found.area[dots > 0.9 * dots.max()].all()


def test_blobs_are_cut_from_a_ground_without_a_defect_and_follow_from_the_seed():
    plain = gaussian_filter(np.random.default_rng(0).standard_normal((200, 200)), 1) * 0.1 + 0.5
    first, again, other = (find_mask(plain, seed) for seed in (0, 0, 1))
    assert first.kind == "blobs" and 0.35 < first.area.mean() < 0.45
    assert (first.area == again.area).all() and (first.area != other.area).any()


@pytest.fixture
def labelled(tmp_path):
    """One image's mask with two defects far apart, its labels in all formats, and the image itself."""
    mask = np.zeros((90, 120), dtype=bool)
    mask[10:31, 5:17] = mask[50:81, 60:101] = True
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.new("RGB", (120, 90)).save(tmp_path / "a.png")
    write_labels(tmp_path / "boxes", {tmp_path / "a.png": tmp_path / "mask.png"}, "pits & <holes>")
    return tmp_path, mask


BOXES = [Box(5, 10, 17, 31), Box(60, 50, 101, 81)]


def test_boxes_bound_the_mask_in_all_three_formats(labelled):
    place, mask = labelled
    assert [part.box for part in parts_of(mask)] == BOXES
    folder, source = place / "boxes", place / "a.png"
    assert "<width>120</width><height>90</height><depth>3</depth>" in (folder / "a.xml").read_text()
    for kind in ("xml", "txt", "json"):
        alone = place / kind
        alone.mkdir()
        for file in folder.glob(f"*.{kind}"):
            (alone / file.name).write_bytes(file.read_bytes())
        if kind == "txt":
            assert (alone / "classes.txt").read_text() == "pits & <holes>\n"
        for name in (None, "pits & <holes>"):
            read = read_boxes(alone, [source], name).boxes[source]
            assert np.allclose(read, BOXES, atol=1e-3), kind
        assert (read_boxes(alone, [source]).mask_of(source, (90, 120)).area == mask).all()
        with pytest.raises(UserError, match="no box of dents for 1 of the 1"):
            read_boxes(alone, [source], "dents")


def test_a_polygon_of_yolo_is_read_as_the_box_around_it(tmp_path):
    source = tmp_path / "1.png"
    Image.new("L", (100, 200)).save(source)
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / "1.txt").write_text("0 0.1 0.1 0.9 0.1 0.9 0.5 0.2 0.5\n0 0.5 0.5 0.2 0.2 0.98\n")
    polygon, box = read_boxes(tmp_path / "boxes", [source]).boxes[source]
    assert polygon == pytest.approx((10, 20, 90, 100)) and box == pytest.approx((40, 80, 60, 120))
    (tmp_path / "boxes" / "1.txt").write_text("0 0.1 0.1 0.9 0.1 0.9 0.5 0.2\n")
    with pytest.raises(UserError, match="7 numbers after the class"):
        read_boxes(tmp_path / "boxes", [source])


def test_a_list_of_yolo_classes_that_is_not_utf8_is_said(tmp_path):
    source = tmp_path / "1.png"
    Image.new("L", (100, 200)).save(source)
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / "1.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "classes.txt").write_bytes("Löcher\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"classes.txt is not UTF-8 \([^\n]*\): save it as that, or remove it"):
        read_boxes(tmp_path / "boxes", [source])


def test_images_of_one_name_in_a_coco_file_are_told_apart_by_the_folder_of_their_class(tmp_path):
    boxes = {"Pa/1.png": [1, 2, 3, 4], "Sc/1.png": [5, 6, 7, 8]}

    def write(names):
        write_json(tmp_path / "coco.json", {
            "images": [{"id": k, "file_name": name} for k, name in enumerate(names)],
            "categories": [{"id": 1, "name": "mark"}],
            "annotations": [{"image_id": k, "category_id": 1, "bbox": box} for k, box in enumerate(boxes.values())]})

    write(boxes)
    source = tmp_path / "neu" / "Sc" / "1.png"
    assert read_boxes(tmp_path / "coco.json", [source]).boxes[source] == [Box(5, 6, 12, 14)]
    write(["a/1.png", "b/1.png"])
    with pytest.raises(UserError, match="several images 1.png, and none is Sc/1.png"):
        read_boxes(tmp_path / "coco.json", [source])


def test_run_lengths_of_coco_give_the_mask_back(labelled):
    import json

    place, mask = labelled
    document = json.loads((place / "boxes" / "coco.json").read_text())
    again = np.zeros_like(mask)
    for annotation in document["annotations"]:
        counts = annotation["segmentation"]["counts"]
        pixels = np.repeat(np.arange(len(counts)) % 2, counts).astype(bool)
        again |= pixels.reshape(mask.shape[::-1]).T
        assert annotation["area"] == pixels.sum()
    assert (again == mask).all()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_an_xml_file_that_declares_entities_is_refused(tmp_path, encoding):
    bomb = '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;">]><annotation>&y;</annotation>'
    (tmp_path / "a.xml").write_text(f'<?xml version="1.0" encoding="{encoding}"?>{bomb}', encoding=encoding)
    with pytest.raises(UserError, match="DOCTYPE"):
        read_boxes(tmp_path, [tmp_path / "a.png"])


@pytest.mark.parametrize("name, text", [
    ("a.xml", "<annotation><object>"), ("a.txt", "0 0.5 0.5 nan 0.1"), ("a.txt", "0 0.5"), ("boxes.json", "[]"),
    ("a.xml", "<a><object><bndbox><xmin>9</xmin><ymin>1</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object></a>")])
def test_files_that_hold_no_boxes_are_refused_with_their_names(tmp_path, name, text):
    Image.new("L", (20, 20)).save(tmp_path / "a.png")
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=name):
        read_boxes(tmp_path, [tmp_path / "a.png"])


def test_a_given_mask_must_be_there_have_the_size_of_its_image_and_mark_something(tmp_path):
    source = tmp_path / "a.jpg"
    with pytest.raises(UserError, match="no mask for 1 of the 1"):
        read_masks(tmp_path, [source])
    Image.new("L", (20, 10), 255).save(tmp_path / "a.png")
    assert read_masks(tmp_path, [source]).mask_of(source, (10, 20)).area.all()
    with pytest.raises(UserError, match="20 x 10"):
        read_masks(tmp_path, [source]).mask_of(source, (20, 20))
    Image.new("L", (20, 10), 0).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="no white pixel"):
        read_masks(tmp_path, [source]).mask_of(source, (10, 20))


def test_images_with_an_empty_mask_are_named_and_refused_if_they_are_most(tmp_path):
    sources = [tmp_path / f"{name}.jpg" for name in "abc"]
    for source, level in zip(sources, (255, 0, 255)):
        Image.new("L", (20, 10), level).save(source.with_suffix(".png"))
    assert read_masks(tmp_path, sources).unmarked() == [sources[1]]
    Image.new("L", (20, 10), 1).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="2 of 3 masks have no white pixel"):
        read_masks(tmp_path, sources).unmarked()
