"""tune.py and the novelty and baselines of sample.py, on a random toy model."""
import csv
import dataclasses
import json
import re
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from commands import FLOAT32, TRAINING, call, here, torchrun
from PIL import Image

from stablesdg.app import sampling
from stablesdg.app.commands import steel
from stablesdg.app.makers import ImageMaker, Made
from stablesdg.app.tuning import find_images
from stablesdg.data.generated import Job
from stablesdg.data.images import save_image
from stablesdg.data.split import part_files, read_split
from stablesdg.evaluate import tuning

CELLS = ["--strengths", "0.2,0.6", "--guidances", "1,3", "--number", "4", "--steps", "5", "--features", "nano",
         *FLOAT32]


@pytest.fixture(scope="module")
def place(tmp_path_factory, toy):
    place = tmp_path_factory.mktemp("tune")
    steel.main([str(place / "steel"), "--number", "20"])
    here(place, "train_ti.py", "--data", "steel/pits", "--weights", str(toy), *TRAINING, "--no-preview")
    return place


def rows(path):
    return list(csv.DictReader(open(path)))


def test_tuning_measures_every_cell_and_sampling_uses_the_choice(place, monkeypatch):
    folder = place / "runs" / "steel" / "pits"
    out = here(place, "tune.py", "--run", "runs/steel/pits", *CELLS, "--sampler", "dpm")
    assert "s = 0.2 leaves 1 steps to run, and fewer than 10 lose fine detail: --steps 50 keeps" in out
    table = rows(folder / "tune.csv")
    assert [(row["s"], row["w"]) for row in table] == [("0.2", "1.0"), ("0.2", "3.0"), ("0.6", "1.0"), ("0.6", "3.0")]
    least = min(table, key=lambda row: float(row["fid"]))
    best = next(row for row in table if float(row["fid"]) <= float(least["fid"]) + float(least["fid_sd"]))
    chosen = json.loads((folder / "choice.json").read_text())
    assert (chosen["s"], chosen["w"]) == (float(best["s"]), float(best["w"])) and chosen["n_validation"] == 2
    assert f"chosen: s = {chosen['s']:g}, w = {chosen['w']:g}" in out
    assert {"tune.png", "tune-images.png"} <= {f.name for f in folder.iterdir()}
    sampled = here(place, "sample.py", "--run", "runs/steel/pits", "--number", "1", "--out", "./chosen", *FLOAT32)
    assert f"tune.py chose s = {chosen['s']:g}, w = {chosen['w']:g}" in sampled
    assert [(row["s"], row["w"], row["sampler"], row["steps"]) for row in rows(place / "chosen" / "manifest.csv")] == [
        (f"{chosen['s']:g}", f"{chosen['w']:g}", "dpm", "5")]
    val = part_files(read_split(place / "runs" / "steel" / "split.json"), place / "steel" / "pits", "val")
    assert find_images(place / "steel" / "pits").held_out == val and len(val) == 2

    made, generate = [], tuning.generate
    monkeypatch.setattr(tuning, "generate", lambda sd, x, seeds, *args, **options: (
        made.append(seeds), generate(sd, x, seeds, *args, **options))[1])
    picture = np.asarray(Image.open(folder / "tune-images.png"), dtype=int)
    here(place, "tune.py", "--run", "runs/steel/pits", *CELLS, "--sampler", "dpm", "--resume")
    assert rows(folder / "tune.csv") == table
    assert [len(seeds) for seeds in made] == [1] * 4  # one image a cell, for the picture
    assert np.abs(np.asarray(Image.open(folder / "tune-images.png")) - picture).max() <= 1
    assert "other settings" in here(place, "tune.py", "--run", "runs/steel/pits", *CELLS, "--sampler", "dpm",
                                    "--resume", "--seed", "5", ok=False)


def test_a_full_adaptation_can_be_tuned(place, toy):
    here(place, "train_lora.py", "--full", "--data", "steel/pits", "--weights", str(toy), *TRAINING, "--no-preview",
         "--out", "runs/full/pits")
    out = here(place, "tune.py", "--run", "runs/full/pits", *CELLS[:2], "--guidances", "1", *CELLS[4:])
    assert "adapters: full" in out and "chosen: s = " in out
    assert "at least 2" in here(place, "tune.py", "--run", "runs/full/pits", *CELLS, "--number", "1", ok=False)


def test_a_cell_has_the_images_that_sample_py_makes_at_its_s_and_w(place, tmp_path):
    """The same seeds from the same sources: the mean novelty of the images in both."""
    shutil.copytree(place / "runs", tmp_path / "runs")
    (tmp_path / "steel").symlink_to(place / "steel")
    here(tmp_path, "tune.py", "--run", "runs/steel/pits", *CELLS, "--batch-size", "3")
    here(tmp_path, "sample.py", "--run", "runs/steel/pits", "--strength", "0.6", "--guidance", "3", "--number", "4",
         "--steps", "5", "--out", "./cell", *FLOAT32)
    cell = next(row for row in rows(tmp_path / "runs/steel/pits/tune.csv") if (row["s"], row["w"]) == ("0.6", "3.0"))
    manifest = rows(tmp_path / "cell" / "manifest.csv")
    assert float(cell["ssim"]) == pytest.approx(np.mean([float(row["ssim"]) for row in manifest]), abs=2e-3)


def test_a_search_by_many_processes_is_that_of_one(place, tmp_path):
    command = ["tune.py", "--run", "runs/steel/pits", *CELLS, "--batch-size", "3", "--halving"]
    made = []
    for n in (1, 3):  # the shares of three differ in size
        shutil.copytree(place / "runs", tmp_path / str(n) / "runs")
        (tmp_path / str(n) / "steel").symlink_to(place / "steel")
        said = call(tmp_path / "1", *command) if n == 1 else torchrun(tmp_path / str(n), n, [command])
        assert said.count("(N = 4)") == 2 and said.count("chosen: s = ") == 1
        folder = tmp_path / str(n) / "runs" / "steel" / "pits"
        made.append(([{**row, "seconds": ""} for row in rows(folder / "tune.csv")],
                     (folder / "tune-images.png").read_bytes(), json.loads((folder / "choice.json").read_text())))
    assert made[0] == made[1]


def test_a_search_that_sigterm_stops_keeps_its_cells_and_the_record_says_what_speaks_against_the_choice(
        place, tmp_path, monkeypatch):
    shutil.copytree(place / "runs", tmp_path / "runs")
    command, measure = ["tune.py", "--run", "runs/steel/pits", *CELLS], tuning.Grid.measure

    def stop_at_the_third(grid, cell, number):
        if len(grid.results) == 2:
            signal.raise_signal(signal.SIGTERM)
        return measure(grid, cell, number)

    with monkeypatch.context() as patch:
        patch.setattr(tuning.Grid, "measure", stop_at_the_third)
        error = here(tmp_path, *command, ok=False)
    assert error.endswith("stopped: 2 finished cells are kept; the same command with --resume goes on\n")
    kept = rows(tmp_path / "runs/steel/pits/tune.csv")
    out = here(tmp_path, *command, "--resume")
    assert len(kept) == 2 and rows(tmp_path / "runs/steel/pits/tune.csv")[:2] == kept
    tuned = json.loads((tmp_path / "runs/steel/pits/choice.json").read_text())
    floor = float(re.search(r"floor of real against real at N = 4: ([\d.]+)", out)[1])
    assert tuned["told_apart"] == ("cannot be told from the chosen one" not in out)
    assert tuned["below_floor"] == (tuned["fid"] < floor)


def test_halving_spends_the_full_number_on_the_better_cells_alone(place, tmp_path):
    shutil.copytree(place / "runs", tmp_path / "runs")
    here(tmp_path, "tune.py", "--run", "runs/steel/pits", *CELLS, "--halving", "--number", "8")
    counts = [row["number"] for row in rows(tmp_path / "runs/steel/pits/tune.csv")]
    assert [counts.count(n) for n in ("2", "4", "8")] == [4, 2, 2]


def test_of_cells_within_a_standard_deviation_of_the_best_the_novel_one_of_least_s_is_chosen():
    a, b, c, d = cells = [tuning.CellResult(s, 1.0, 4, fid, sd, novelty, ssim=0.5, seconds=1.0)
                          for s, fid, sd, novelty in ((0.2, 6.5, 1.0, 0.3), (0.4, 6.4, 0.1, 0.7), (0.6, 6.0, 0.5, 0.8),
                                                      (0.8, 9.0, 9.0, 0.9))]
    assert tuning.choose(cells, 0, floor=2) == (a, c) and tuning.choose(cells, 0.5, floor=2) == (b, c)
    surer = dataclasses.replace(c, fid_sd=0.3)
    assert tuning.choose([a, b, surer, d], 0, floor=2) == (surer, surer)
    assert tuning.choose([a, b, surer, d], 0, floor=6.45) == (b, surer)  # below the floor a distance does not rank
    assert tuning.better_half(cells, 0) == [a.cell, b.cell] and tuning.better_half(cells, 0.5) == [b.cell, c.cell]
    assert tuning.better_half([a, b, surer, d], 0) == [surer.cell, b.cell]


def test_no_cell_novel_enough_is_said_with_the_most_novel_one(place, tmp_path):
    shutil.copytree(place / "runs", tmp_path / "runs")
    error = here(tmp_path, "tune.py", "--run", "runs/steel/pits", *CELLS, "--min-novelty", "1e6", ok=False)
    assert "the most novel one, s = " in error


def test_too_few_validation_images_are_an_error(place, tmp_path, toy):
    steel.main([str(tmp_path / "few"), "--number", "8"])
    here(tmp_path, "train_ti.py", "--data", "few/pits", "--weights", str(toy), *TRAINING, "--no-preview")
    assert "1 validation images, too few" in here(tmp_path, "tune.py", "--run", "runs/few/pits", ok=False)


def test_strength_zero_is_a_round_trip_and_classic_needs_no_model(place):
    here(place, "sample.py", "--run", "runs/steel/pits", "--strength", "0", "--number", "3", "--out", "./trip",
         *FLOAT32)
    assert {row["s"] for row in rows(place / "trip" / "manifest.csv")} == {"0"}
    out = here(place, "sample.py", "--run", "runs/steel/pits", "--classic", "--number", "20", "--out", "./classic",
               "--device", "cpu")
    assert "weights" not in out and "novelty" in out
    table = rows(place / "classic" / "manifest.csv")
    assert {(row["s"], row["sampler"]) for row in table} == {("", "classic")}
    for row in table:
        assert Image.open(place / "classic" / row["file"]).size == (200, 200)
        assert -1 < float(row["ssim"]) < 1
    novelty = np.median([float(row["novelty"]) for row in table])
    assert novelty < 1  # nearer to one real image than real ones are to each other
    assert "leave out --strength" in here(place, "sample.py", "--run", "runs/steel/pits", "--classic",
                                          "--strength", "0.5", ok=False)


def test_images_below_the_least_novelty_are_drawn_again_and_then_left_out(place):
    command = ["sample.py", "--run", "runs/steel/pits", "--strength", "0.4", "--guidance", "1", "--steps", "3",
               "--number", "6", "--adapters", "none", *FLOAT32]
    here(place, *command, "--out", "./plain")
    plain = {row["file"]: row for row in rows(place / "plain" / "manifest.csv")}
    threshold = sorted(float(row["novelty"]) for row in plain.values())[2] + 1e-3
    out = here(place, *command, "--min-novelty", str(threshold), "--out", "./novel")
    novel = rows(place / "novel" / "manifest.csv")
    assert all(float(row["novelty"]) >= threshold for row in novel)
    assert all(row["seed"] == plain[row["file"]]["seed"] for row in novel
               if float(plain[row["file"]]["novelty"]) >= threshold)
    redrawn = [row for row in novel if float(plain[row["file"]]["novelty"]) < threshold]
    assert all(int(row["seed"]) > 10**9 - 1 for row in redrawn)
    assert (len(novel) < 6) == ("were left out" in out) and len(list((place / "novel").glob("*.png"))) == len(novel)
    assert "No image was novel enough" in here(place, *command, "--min-novelty", "1e6", "--out", "./none", ok=False)


def test_an_image_that_is_not_novel_enough_gets_five_seeds_and_is_then_given_up(tmp_path):
    kept, given_up, tried = {}, [], []
    images = SimpleNamespace(keep=lambda name, image, row, mask: kept.update({name: row}), give_up=given_up.append,
                             save_progress=lambda: None)

    def make(batch, seeds):
        tried.append(list(seeds))
        return [Made(Image.new("L", (8, 8))) for _ in batch]

    file = tmp_path / "a" / "0.png"
    save_image(file, Image.new("L", (8, 8)))
    jobs = [Job(file, f"{k}.png", k) for k in range(3)]
    sources = [SimpleNamespace(job=job) for job in jobs]
    novelties = iter([[1.0, 0.0, 0.0], [1.0, 0.0], *[[0.0]] * 3])  # the first at once, the second at the second try
    meter = SimpleNamespace(measure=lambda made: [(n, file) for n in next(novelties)])
    maker = ImageMaker(make, "", columns={}, resolution=None, multiple=1, depends_on={}, seen=frozenset())
    sampling.make_batch(sources, maker, meter, images, min_novelty=0.5, from_noise=False)
    stride = sampling.RETRY_STRIDE
    assert {name: int(row["seed"]) for name, row in kept.items()} == {"0.png": 0, "1.png": 1 + stride}
    assert tried == [[0, 1, 2], [1 + stride, 2 + stride], *([2 + k * stride] for k in (2, 3, 4))]
    assert given_up.count("2.png") == 5


@pytest.mark.parametrize("asked, tuned, recipe, category, expected", [
    ((0.3, 4.0), {"s": 0.5, "w": 2.0}, (0.6, 1.5), "Pa", (0.3, 4.0)),
    ((None, 4.0), {"s": 0.5, "w": 2.0}, (0.6, 1.5), "Pa", (0.5, 4.0)), ((None, None), {}, (0.6, 1.5), "Pa", (0.6, 1.5)),
    ((None, None), {}, (None, None), "Pa", (0.4, 6)), ((None, None), {}, (None, None), "dents", (0.4, 5.0))])
def test_s_and_w_are_the_command_line_s_or_tune_s_or_the_recipe_s_or_table_i_s(monkeypatch, asked, tuned, recipe,
                                                                              category, expected):
    monkeypatch.setattr(sampling, "from_recipe", lambda sd, stage, **given: {
        name: mine if value is None else value for (name, value), mine in zip(given.items(), recipe)})
    settings = SimpleNamespace(from_noise=False, strength=asked[0], guidance=asked[1])
    assert sampling.choose_strength_and_guidance(settings, None, category, tuned) == expected


def test_table_i_is_looked_up_by_the_class_and_not_by_the_run_folder(place, toy, tmp_path):
    shutil.copytree(place / "steel" / "pits", tmp_path / "neu" / "Pa")
    run = shutil.copytree(place / "runs" / "steel" / "pits", tmp_path / "experiment")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "data": str(tmp_path / "neu" / "Pa")}))
    (run / "choice.json").unlink(missing_ok=True)
    out = here(tmp_path, "sample.py", "--run", run, "--number", "1", "--steps", "5", "--weights", toy,
               "--guidance", "2", "--device", "cpu", "--adapters", "none")
    assert "the paper's Table I has s = 0.4 for Pa" in out


def test_cells_that_chance_cannot_tell_apart_or_that_lie_below_the_floor_are_said():
    from stablesdg.app.tuning import doubts, images_of_a_cell

    best, near, far = (tuning.CellResult(s, 1.0, 4, fid, sd, novelty=0.5, ssim=0.5, seconds=1.0)
                       for s, fid, sd in ((0.2, 5.0, 0.5), (0.4, 6.0, 0.5), (0.6, 9.0, 0.5)))
    assert not near.is_told_from(best) and far.is_told_from(best)
    told, = doubts(best, [best, near, far], floor=4.0)
    assert "1 of the 2 other cells cannot be told from the chosen one: (s, w) = (0.4, 1)" in told
    assert doubts(best, [best, far], floor=4.0) == []
    below, = doubts(best, [best, far], floor=6.0)
    assert "1 of the 2 cells lie below the floor" in below
    assert images_of_a_cell(100, ["a", "b", "c"]) == 3 and images_of_a_cell(2, ["a", "b", "c"]) == 2


def test_the_floor_is_at_the_number_of_images_of_a_cell(place, tmp_path):
    """Of 20 images 16 are for training: more than 16 a cell have no floor to be held against."""
    shutil.copytree(place / "runs", tmp_path / "runs")
    out = here(tmp_path, "tune.py", "--run", "runs/steel/pits", "--strengths", "0.2", "--guidances", "1", "--number",
               "40", *CELLS[6:])
    assert "a cell has 16 images, not 40" in out and "floor of real against real at N = 16" in out
    assert [row["number"] for row in rows(tmp_path / "runs/steel/pits/tune.csv")] == ["16"]
