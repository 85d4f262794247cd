"""A run folder that no training has made: small pictures, and tables with figures from a seeded generator."""
import csv
import json
import random
from pathlib import Path

from PIL import Image, ImageDraw

from stablesdg.evaluate.filter import filter_images
from stablesdg.recognise.results import Result, SeedResult, Setup, save_filtered, save_result

HOSTILE = "<img src=x onerror=alert(1)>"
SIDE, PER_CLASS, MADE, SEEDS = 64, 20, 12, 3


def write_rows(file, header, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])


def draw(file, seed, level=120):
    """A gray square with some dark spots."""
    chance = random.Random(seed)
    image = Image.effect_noise((SIDE, SIDE), 30).point(lambda v: v + level - 128)
    pen = ImageDraw.Draw(image)
    for _ in range(3):
        x, y, r = chance.randrange(SIDE), chance.randrange(SIDE), chance.randrange(3, 12)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=40)
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file)


def make_data(data, classes):
    """Real images, and a split of 10 training, 4 validation and 6 test images, each of its own surface but one pair."""
    files = {}
    for k, name in enumerate(classes):
        for i in range(PER_CLASS):
            file = f"{name}/{i:03d}.png"
            draw(data / file, 1000 * k + i, 100 + 30 * k)
            part = "train" if i < 10 else "val" if i < 14 else "test"
            files[file] = {"sha256": f"{k}-{i}", "group": f"{name}/{0 if i == 1 else i:03d}.png", "part": part}
    return files


def make_runs(runs, data, classes):
    """Trainings, generated images and a search for s and w, of each class."""
    chance = random.Random(0)
    for k, name in enumerate(classes):
        folder = runs / name
        versions = {"python": "3.11.2", "torch": "2.6.0"}
        stages = {stage: {"arguments": {"data": str(data / name), "iterations": 60, "seed": 0, "device": "auto"},
                          "weights_sha256": "ab" * 32, "seconds": 65.0, "finished": "2025-11-25 02:40:00",
                          "versions": versions} for stage in ("ti", "lora")}
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({
            "data": str(data / name), "weights": "weights/nano", "weights_sha256": "ab" * 32, "stages": stages}))
        (folder / "choice.json").write_text(json.dumps({"s": 0.5, "w": 2.0, "fid": 7.0, "novelty": 0.6, "n": 10}))
        for stage in ("ti", "lora"):
            rows = [(0, "", 0.2)] + [(i, 0.2 + chance.uniform(-0.1, 0.1), 0.2 - i / 1000 if i % 15 == 0 else "")
                                     for i in range(1, 61)]
            write_rows(folder / f"log-{stage}.csv", ("iteration", "loss", "held_out_loss"), rows)
        write_rows(folder / "tune.csv", ("s", "w", "number", "fid", "fid_sd", "novelty", "ssim", "seconds"),
                   [(s, w, 10, 10 - 6 * s + abs(w - 2), 0.4, s, 1 - s, 3) for s in (0.3, 0.5, 0.7) for w in (1, 2, 3)])
        rows = []
        for i in range(MADE):
            draw(folder / "samples" / f"{i:05d}.png", 1000 * k + i % 10, 105 + 30 * k)
            rows.append((f"{i:05d}.png", f"{name}/{i % 10:03d}.png", i, 0.5, 2, "dpm", 25, f"{0.08 + 0.09 * i:.4f}",
                         f"{name}/{i % 10:03d}.png", f"{0.95 - 0.04 * i:.4f}"))
        write_rows(folder / "samples" / "manifest.csv", ("file", "source", "seed", "s", "w", "sampler", "steps",
                                                         "novelty", "nearest", "ssim"), rows)
        (folder / "fid.json").write_text(json.dumps({"fid": 8.25, "name": "FD-nano"}), encoding="utf-8")


def make_results(folder, classes, files, data, skill):
    """Results of arms, {name of the arm: share of right answers}, that all see the same test images."""
    tested = sorted(name for name, entry in files.items() if entry["part"] == "test")
    chance, n = random.Random(1), len(classes)
    ease = [chance.random() for _ in tested]
    for arm, share in skill.items():
        result = Result(Setup(
            "squeezenet", arm, arm, 1.0, None, "group", list(classes), False, None, "cpu", "float32", tested,
            [files[name]["group"] for name in tested], "h" * 64, arm * 8,
            {"data": str(data), "epochs": 8, "seeds": SEEDS, "network": "squeezenet", "patience": None}))
        for seed in range(SEEDS):
            correct = [int(e + chance.uniform(-0.1, 0.1) < share) for e in ease]
            counts = [[0] * n for _ in classes]
            for name, right in zip(tested, correct):
                true = classes.index(name.split("/")[0])
                counts[true][true if right else (true + 1) % n] += 1
            accuracy = sum(correct) / len(correct)
            extra = 0 if arm == "none" else MADE * n
            result = result.add(SeedResult(seed, 8, 90 if arm == "none" else 200, 10 * n, extra, 5, accuracy, accuracy,
                                           correct, counts), extra, 0)
        save_result(folder, result)
        (folder / f"{result.setup.stem}.safetensors").touch()


def make_plan(folder, classes):
    """What python -m stablesdg.plan writes, as far as the report reads it."""
    curve = {"name": "nano", "points": [{"per_class": n, "balanced": 0.6 + n / 50} for n in (5, 10)],
             "doubling": {"per_class": 10, "exponent": 0.5, "gain": 0.06, "low": 0.02, "high": 0.1}}
    plan = {"headline": "Generation may pay: nano reaches 80.0 %.",
            "advice": {"verdict": "Generation may pay", "why": "nano reaches 80.0 %.", "further": ["Try it."]},
            "curves": [curve, {**curve, "name": "descriptor", "points": curve["points"][:1]}],
            "audit": {"pairs": 2, "pairs_across": 0, "leaked": [], "notes": [f"{classes[0]} has one size alone."],
                      "hash": [{"bits": 10, "linked": 1, "others": 0}]}}
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")


def make_run_folder(root, classes=("pits", "scratches"), skill=None, skip=()):
    """runs/DATA with all that a report reads, but the parts named in `skip`. Returns the folder.

    skill  {arm: share of right answers}; None for three arms of about equal skill
    """
    data, runs = Path(root) / "steel data", Path(root) / "runs" / "steel data"
    files = make_data(data, classes)
    runs.mkdir(parents=True)
    if "split" not in skip:
        (runs / "split.json").write_text(json.dumps({"method": "group", "seed": 0, "ratios": [5, 2, 3],
                                                     "files": files}), encoding="utf-8")
    if "overlaps" not in skip:
        draw(runs / f"overlaps-{classes[0]}.png", 5)
    if "plan" not in skip:
        make_plan(runs / "plan", classes)
    if "runs" not in skip:
        make_runs(runs, data, classes)
    if "results" not in skip:
        make_results(runs / "classify", classes, files, data,
                     skill or {"none": 0.7, "expand": 0.72, "steps": 0.71})
    if not {"results", "filter"} & set(skip):
        save_filtered(runs / "classify", "expand", 0, [filter_images(
            [runs / name / "samples" / f"{i:05d}.png" for i in range(MADE)], [0.08 + 0.09 * i for i in range(MADE)],
            [0.01 if i == 9 else 1 - 0.05 * i for i in range(MADE)], 0.05) for name in classes])
        predictions = [(name, name.split("/")[0], *(0.8 if c == name.split("/")[0] else 0.2 / (len(classes) - 1)
                                                    for c in classes))
                       for name, entry in files.items() if entry["part"] == "test"]
        write_rows(runs / "classify" / "predictions-squeezenet-expand-1-on-test.csv",
                   ("file", "true", "class", *classes), [(f, t, t, *p) for f, t, *p in predictions])
    return runs
