"""The cells of tune.py: images at one (s, w), their distance to held-out images and their novelty."""
import json
import time
from functools import partial

import numpy as np
import torch
from PIL import Image, ImageDraw

from ..data.generated import list_jobs
from ..data.images import read_image, save_image, to_image, to_tensor
from ..generation import generate
from ..models.encode import encode_images
from ..storage.errors import UserError
from ..storage.files import read_csv, read_json, sha256, write_csv, write_json
from ..weights.read import WEIGHTS
from .features import load_nano_network
from .inception import find_inception_weights, load_inception
from .metrics import (
    frechet_distance,
    gaussian,
    inception_features,
    nano_features,
    resize_for_inception,
)
from .novelty import NoveltyMeter, similarity
from .score import bootstrap_sd, cached_features, network_key

HEADER = ("s", "w", "number", "fid", "fid_sd", "novelty", "ssim", "seconds")


class Grid:
    """Measures cells; remembers images' features, so that more images of a cell only cost the new ones."""

    def __init__(self, sd, prompt, resolution, sources, held_out, args, folder):
        self.sd, self.prompt, self.args, self.folder = sd, prompt, args, folder
        self.features, self.network, self.prepare, extract, key = pick_network(args.features, sd.device)
        self.name = "FID" if self.features == "inception" else "FD-nano"
        self.reference = gaussian(cached_features(held_out, partial(extract, model=self.network), key))
        training = cached_features(sources, partial(extract, model=self.network), key)
        order = torch.randperm(len(training), generator=torch.Generator().manual_seed(args.seed))
        self.floor = frechet_distance(self.reference, training[order[:args.number]])
        self.meter = NoveltyMeter(load_nano_network(sd.device), sources)
        self.jobs = list_jobs(sources, args.number, args.seed)
        used = sorted({source for source, _, _ in self.jobs})
        self.posteriors = dict(zip(used, encode_images(sd, used, resolution)))
        self.originals = {source: read_image(source) for source in used}
        self.cells, self.examples, self.rows = {}, {}, {}
        self.settings = json.loads(json.dumps({
            "weights": sd.sha256, "adapters": [sha256(f) for f in sd.adapter_files], "prompt": prompt, "features": key,
            "seed": args.seed, "steps": args.steps, "sampler": args.sampler, "resolution": resolution, "device": sd.device.type,
            "dtype": str(sd.dtype), "images": [source.name for source in sources + held_out], "columns": HEADER}))
        self.finished = self.read_finished() if args.resume else {}

    def read_finished(self):
        """{(s, w, number): row} of an earlier call with the same settings."""
        if not (self.folder / "tune.json").is_file() or not (self.folder / "tune.csv").is_file():
            return {}
        if read_json(self.folder / "tune.json") != self.settings:
            raise UserError(f"{self.folder / 'tune.csv'} was made with other settings: leave out --resume to make it anew.")
        rows = [{k: int(v) if k == "number" else float(v) for k, v in row.items()}
                for row in read_csv(self.folder / "tune.csv")]
        return {(row["s"], row["w"], row["number"]): row for row in rows}

    def measure(self, cell, number):
        """The row of one cell with its first `number` images."""
        s, w = cell
        self.cells.setdefault(cell, ([], [], []))
        if (s, w, number) not in self.finished:
            start = time.monotonic()
            features, novelties, similarities = self.cells[cell]
            while len(features) < number:
                self.draw(cell, self.jobs[len(features):min(number, len(features) + self.args.batch_size)])
            generated, median = torch.stack(features[:number]), torch.tensor(novelties[:number]).median()
            self.finished[s, w, number] = {
                "s": s, "w": w, "number": number, "novelty": round(float(median), 4),
                "fid": round(frechet_distance(self.reference, generated), 4),
                "fid_sd": round(bootstrap_sd(self.reference, generated, np.random.default_rng(0)), 4),
                "ssim": round(sum(similarities[:number]) / number, 4), "seconds": round(time.monotonic() - start, 1)}
            write_json(self.folder / "tune.json", self.settings)
            write_csv(self.folder / "tune.csv", HEADER, [[row[k] for k in HEADER] for row in self.finished.values()])
        elif cell not in self.examples:
            self.draw(cell, self.jobs[:1])  # for the picture
        self.rows[cell] = self.finished[s, w, number]
        return self.rows[cell]

    @torch.no_grad()
    def draw(self, cell, jobs):
        """Images of `jobs`, those of one size together; appends their features, novelty and similarity."""
        s, w = cell
        features, novelties, similarities = self.cells[cell]
        while jobs:
            shape = self.posteriors[jobs[0][0]][0].shape
            count = next((k for k, job in enumerate(jobs) if self.posteriors[job[0]][0].shape != shape), len(jobs))
            now, jobs = jobs[:count], jobs[count:]
            posterior = tuple(torch.stack(part).to(self.sd.device) for part in zip(*(self.posteriors[job[0]] for job in now)))
            y = generate(self.sd, posterior, [seed for *_, seed in now], self.prompt, strength=s, guidance=w,
                         steps=self.args.steps, sampler=self.args.sampler)
            for (source, _, _), x in zip(now, y):
                original, mode = self.originals[source]
                image = to_image(x, original.size, mode)
                self.examples.setdefault(cell, image)
                features.append(self.network(self.prepare(image.convert("RGB"))[None].to(self.sd.device))[0].cpu())
                novelties.append(self.meter.measure([image])[0][0])
                similarities.append(similarity(image, original))


def pick_network(features, device):
    """(name, network, image -> tensor, extract(files, model), cache key) of the feature network."""
    if features is None:
        found = any((WEIGHTS / f"pt_inception-2015-12-05-6726825d{suffix}").is_file() for suffix in (".pth", ".safetensors"))
        features = "inception" if found else "nano"
        print(f"features: {features}" + ("" if found else " (FD-nano: Inception's weights are not there)"))
    if features == "nano":
        network = load_nano_network(device)
        return features, network, lambda image: to_tensor(image) / 2 + 0.5, nano_features, network_key("nano", network)
    network = load_inception(find_inception_weights(WEIGHTS), device)
    return features, network, resize_for_inception, inception_features, network_key("inception-legacy", network)


def choose(rows, min_novelty):
    """(row chosen, row of least distance) of those that are novel enough.

    Chosen is the least s, and of equal s the least w, within a standard deviation of the least distance: what chance decides
    is decided for the source, since a distance of whole sets may not notice that the defects themselves are gone.
    """
    novel = [row for row in rows if row["novelty"] >= min_novelty]
    if not novel:
        most = max(rows, key=lambda row: row["novelty"])
        raise UserError(f"No cell is as novel as --min-novelty {min_novelty:g}; the most novel one, "
                        f"s = {most['s']:g}, w = {most['w']:g}, has {most['novelty']:.2f}: lower it, or try larger --strengths.")
    least = min(novel, key=lambda row: row["fid"])
    as_good = [row for row in novel if row["fid"] <= least["fid"] + least["fid_sd"]]
    return min(as_good, key=lambda row: (row["s"], row["w"])), least


def save_pictures(folder, grid, args, best):
    """tune.png, the distances as a heat map with novelty beneath each; tune-images.png, one source in every cell."""
    ss, ws, side, left, top = args.strengths, args.guidances, 96, 70, 60
    known = [row["fid"] for row in grid.rows.values()]
    low, high = min(known), max(known)
    heat = Image.new("RGB", (max(520, left + side * len(ws) + 10), top + side * len(ss) + 10), (255, 255, 255))
    pen = ImageDraw.Draw(heat)
    pen.text((left, 6), f"{grid.name} on validation images (floor {grid.floor:.2f}); novelty beneath; chosen: framed",
             fill=(40, 40, 40))
    images = Image.new("RGB", heat.size, (255, 255, 255))
    label = ImageDraw.Draw(images)
    label.text((left, 6), "the first image of each cell", fill=(40, 40, 40))
    for k, w in enumerate(ws):
        for target in (pen, label):
            target.text((left + side * k + 24, top - 20), f"w = {w:g}", fill=(40, 40, 40))
    for r, s in enumerate(ss):
        for target in (pen, label):
            target.text((8, top + side * r + 40), f"s = {s:g}", fill=(40, 40, 40))
        for k, w in enumerate(ws):
            box = (left + side * k, top + side * r, left + side * (k + 1) - 4, top + side * (r + 1) - 4)
            if row := grid.rows.get((s, w)):
                good = 1 - (row["fid"] - low) / (high - low or 1)
                pen.rectangle(box, fill=(round(250 - 150 * good), round(235 - 55 * good), round(215 + 10 * good)))
                pen.text((box[0] + 18, box[1] + 26), f"{row['fid']:.2f}", fill=(20, 20, 20))
                pen.text((box[0] + 18, box[1] + 46), f"({row['novelty']:.2f})", fill=(80, 80, 80))
                if (s, w) == (best["s"], best["w"]):
                    pen.rectangle(box, outline=(200, 60, 40), width=3)
            if example := grid.examples.get((s, w)):
                images.paste(example.convert("RGB").resize((side - 4, side - 4), Image.Resampling.LANCZOS), box[:2])
    save_image(folder / "tune.png", heat)
    if grid.examples:
        save_image(folder / "tune-images.png", images)
