"""The teacher's labels come from probes that have not seen the image's surface; the filter has two sides."""
import csv
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from commands import here
from PIL import Image
from steel_place import make_generated, make_place  # noqa: F401 (fixtures)

from stablesdg.evaluate.extract import nano_extractor
from stablesdg.evaluate.filter import (
    COPY,
    EVIDENCE_GONE,
    KEPT,
    NOT_JUDGED,
    STRANGE,
    evidence_floor,
    filter_images,
    read_novelty,
)
from stablesdg.recognise.probe import assign_folds, fit_probe
from stablesdg.recognise.teacher import Teacher, filter_generated, fit_teacher, out_of_fold
from stablesdg.storage.errors import UserError

NAMES = ("patches", "pits", "scratches")
OTHER = {"patches": "pits", "pits": "scratches", "scratches": "patches"}


def blobs(n=36, classes=3, d=5, spread=1.0):
    rng = np.random.default_rng(0)
    y = np.arange(n) % classes
    x = np.random.default_rng(9).normal(size=(classes, d))[y] + spread * rng.normal(size=(n, d))
    return torch.from_numpy(x), torch.from_numpy(y), [f"{i // 6}-{i % classes}" for i in range(n)]  # 2 of a surface


class FromNames:
    """An extractor whose features are written in the files' names."""

    def of_files(self, files, progress=""):
        return torch.tensor([[float(v) for v in file.split(",")] for file in files], dtype=torch.float64)


def teach(x, y, surfaces):
    files = [",".join(f"{v:.9f}" for v in row) for row in x.tolist()]
    real = [[file for file, k in zip(files, y.tolist()) if k == c] for c in range(3)]
    return fit_teacher(real, dict(zip(files, surfaces)), FromNames()), files


def test_a_label_does_not_depend_on_what_the_image_s_own_surface_shows():
    x, y, surfaces = blobs()
    fold = assign_folds(y.tolist(), surfaces)
    before, _ = out_of_fold(x, y, fold, 3, 0.1)
    own = torch.tensor([name == surfaces[4] for name in surfaces])
    assert int(own.sum()) == 2
    changed = torch.where(own, (y + 1) % 3, y)  # other classes for the two images of this surface
    after, _ = out_of_fold(x, changed, fold, 3, 0.1)
    assert torch.equal(before[own], after[own]) and not torch.equal(before[fold != fold[4]], after[fold != fold[4]])


def test_labels_are_those_of_a_probe_that_is_fitted_to_the_other_folds():
    x, y, surfaces = blobs()
    teacher, files = teach(x, y, surfaces)
    fold = assign_folds(teacher.y.tolist(), teacher.surface)
    labels = teacher.label(files)
    row = teacher.row[files[4]]
    out = fold == fold[row]
    probe = fit_probe(teacher.features[~out], teacher.y[~out], 3, penalties=[teacher.probe.penalty])
    assert torch.allclose(labels[4], probe.probabilities(x[4:5], 2.0)[0], atol=1e-6)
    assert torch.allclose(labels.sum(dim=1), torch.ones(36, dtype=torch.float64))


def test_labels_of_real_images_are_softer_than_those_of_a_probe_that_knows_them():
    x, y, surfaces = blobs(spread=0.7)
    teacher, files = teach(x, y, surfaces)
    own = torch.arange(36)
    assert float(teacher.label(files)[own, y].mean()) < float(teacher.probe.probabilities(x, 2.0)[own, y].mean())


def test_a_generated_image_is_labelled_by_the_probe_that_has_seen_all_real_ones():
    x, y, surfaces = blobs()
    teacher, _ = teach(x, y, surfaces)
    assert torch.allclose(teacher.label(["1,2,3,4,5"]), teacher.probe.probabilities(torch.tensor([[1., 2, 3, 4, 5]]),
                                                                                    2.0))


def test_a_class_of_one_surface_keeps_its_hard_labels():
    x, y, surfaces = blobs()
    surfaces = ["alone" if k == 2 else name for name, k in zip(surfaces, y.tolist())]
    teacher, files = teach(x, y, surfaces)
    labels = teacher.label(files)
    assert torch.equal(labels[y == 2], torch.tensor([[0., 0, 1]], dtype=torch.float64).expand(12, 3))
    assert bool((labels[y == 0] > 0).all())
    with pytest.raises(UserError, match="two surfaces or more"):
        teach(x, y, [str(k) for k in y.tolist()])


# ---- the filter -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(place, tmp_path_factory):
    """What a teacher of eight drawn images a class says of a copy, of noise, of a new image, and of another class."""
    folder = tmp_path_factory.mktemp("made")
    real = [sorted((place / "steel" / name).iterdir())[:8] for name in NAMES]
    made = []
    rng = np.random.default_rng(0)
    for name, own in zip(NAMES, real):
        (folder / name).mkdir()
        shutil.copy(own[0], folder / name / "copy.png")
        shutil.copy(sorted((place / "steel" / name).iterdir())[9], folder / name / "new.png")
        Image.fromarray(rng.integers(0, 256, (96, 96), dtype=np.uint8)).save(folder / name / "noise.png")
        shutil.copy(sorted((place / "steel" / OTHER[name]).iterdir())[8], folder / name / "wrong.png")
        made.append([folder / name / f"{kind}.png" for kind in ("copy", "noise", "new", "wrong")])
    surface_of = {file: str(file) for own in real for file in own}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STABLESDG_RUNS", str(folder / "runs"))
        return filter_generated(fit_teacher(real, surface_of, nano_extractor("cpu")), made)


def test_the_filter_drops_a_copy_and_keeps_a_real_image_that_is_new(judged):
    for copy, _, new, _ in judged:
        assert copy.reason == COPY and copy.novelty < 0.01
        assert new.reason == KEPT and new.novelty > 0.2


def test_the_filter_drops_noise_even_where_the_probe_is_sure_of_it(judged):
    assert all(noise.reason == STRANGE for _, noise, _, _ in judged)
    assert max(noise.evidence for _, noise, _, _ in judged) > 0.5


def test_the_filter_drops_images_of_another_class(judged):
    """Drawn pits and scratches are alike for eight images a class, so one of the three may pass."""
    assert sum(wrong.reason == EVIDENCE_GONE for _, _, _, wrong in judged) >= 2
    assert all(wrong.evidence < new.evidence for _, _, new, wrong in judged)


def test_the_floor_is_the_quantile_of_what_real_images_have():
    own = torch.linspace(0, 1, 101)
    assert evidence_floor(own) == pytest.approx(0.02) and evidence_floor(own, 0.5) == pytest.approx(0.5)


def test_a_copy_is_named_before_lost_evidence():
    reasons = [one.reason for one in filter_images(["a", "b", "c", "d"], [0.1, 4, 0.5, 0.5], [0, 0, 0, 0.9], floor=0.1)]
    assert reasons == [COPY, STRANGE, EVIDENCE_GONE, KEPT]


def test_images_of_a_class_that_the_probe_does_not_know_are_kept_and_not_judged(tmp_path):
    """Of two classes the probe takes all images for the first one."""
    (tmp_path / "manifest.csv").write_text("file,novelty\na.png,0.5\nb.png,0.5\nc.png,0.1\n")
    teacher = Teacher(
        extractor=SimpleNamespace(of_files=lambda files, progress: torch.zeros(len(files), 2)),
        probe=SimpleNamespace(probabilities=lambda x: torch.full((len(x), 2), 0.5)), row={}, features=torch.zeros(4, 2),
        y=torch.tensor([0, 0, 1, 1]), surface="abcd", logits=torch.tensor([[3.0, 0.0]] * 4), known=torch.ones(4) > 0)
    assert teacher.recalls().tolist() == [1, 0]
    a, b, c = (tmp_path / f"{name}.png" for name in "abc")
    found = filter_generated(teacher, [[a], [b, c]])
    assert [[one.reason for one in own] for own in found] == [[EVIDENCE_GONE], [NOT_JUDGED, COPY]]


def test_novelty_is_read_from_the_manifest_beside_an_image(tmp_path):
    (tmp_path / "manifest.csv").write_text("file,source,novelty\na.png,x/y.png,0.1500\n")
    assert read_novelty([tmp_path / "a.png", tmp_path / "b.png"]) == [0.15, None]


def test_the_filter_of_classify_counts_and_lists_what_it_leaves_out(place, generated, tmp_path):
    shutil.copytree(place / "generated", tmp_path / "generated")
    base = ["classify.py", "--data", "steel", "--steps", "2", "--side", "64", "--out", tmp_path / "out"]
    out = here(place, *base, "--mode", "expand", "--generated", tmp_path / "generated", "--filter")
    assert "generated images of pits: " in out and "evidence gone" in out
    rows = list(csv.DictReader(open(tmp_path / "out" / "filter.csv")))
    kept = sum(row["verdict"] == "kept" for row in rows)
    assert len(rows) == 36 and f"on 30 real and {kept} other images" in out
    assert {row["name"] for row in rows} == {"expand-filter"}
    here(place, *base, "--mode", "expand", "--generated", tmp_path / "generated", "--filter", "--replace")
    assert len(list(csv.DictReader(open(tmp_path / "out" / "filter.csv")))) == 36
    steps = here(place, *base, "--control", "steps", "--generated", tmp_path / "generated", "--filter")
    assert f"on 30 real and {kept} other images" in steps and "is not compared" not in steps
    assert "leave out --filter" in here(place, *base, "--filter", ok=False)


def test_a_class_of_which_the_filter_leaves_nothing_is_trained_on_its_real_images(place, generated, tmp_path):
    shutil.copytree(place / "generated", tmp_path / "generated")
    rng = np.random.default_rng(0)
    for file in (tmp_path / "generated" / "pits").rglob("*.png"):  # noise, which the filter calls strange
        Image.fromarray(rng.integers(0, 256, (96, 96), dtype=np.uint8)).save(file)
    base = ["classify.py", "--data", "steel", "--steps", "2", "--side", "64", "--out", tmp_path / "out", "--filter",
            "--generated", tmp_path / "generated"]
    out = here(place, *base, "--mode", "expand")
    assert "warning: --filter leaves no generated image of pits: real images alone are used there" in out
    kept = sum(row["verdict"] == "kept" for row in csv.DictReader(open(tmp_path / "out" / "filter.csv")))
    assert kept and f"on 30 real and {kept} other images" in out
    assert "Generate others, or leave out --filter" in here(place, *base, "--mode", "synthetic", ok=False)
