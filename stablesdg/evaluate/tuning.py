"""The grid of tune.py, the paper's Table IV: images at each (s, w), their distance to held-out images, their novelty.

Every cell makes images from the same sources with the same seeds, so that cells differ by s and w alone.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.generated import Job, list_jobs
from ..data.images import batches_alike, read_image, to_image
from ..generation import generate
from ..models.encode import encode_images
from ..models.stable_diffusion import StableDiffusion
from ..models.vae import Posterior
from ..storage.errors import UserError
from ..storage.files import read_csv, read_json, sha256, write_csv, write_json
from ..storage.settings import require_same_settings
from .extract import FeatureExtractor
from .features import load_nano_network
from .frechet import frechet_distance, gaussian
from .novelty import NoveltyMeter, similarity
from .score import bootstrap_sd, told_apart


class Cell(NamedTuple):
    """One point of the grid."""
    s: float
    w: float


@dataclass(frozen=True)
class CellSettings:
    """What all cells have in common."""
    prompt: str
    resolution: int | None  # shorter side of the sources in pixels, or None for their own size
    number: int  # images of a cell, at most
    batch_size: int
    steps: int  # of a full run
    sampler: str
    seed: int


@dataclass(frozen=True)
class CellResult:
    """One row of tune.csv."""
    s: float
    w: float
    number: int  # of images
    fid: float  # distance to the held-out images
    fid_sd: float  # its standard deviation under a bootstrap of the images
    novelty: float  # median
    ssim: float  # mean
    seconds: float

    @property
    def cell(self) -> Cell:
        """Where it stands in the grid."""
        return Cell(self.s, self.w)

    def is_told_from(self, other: CellResult) -> bool:
        """Whether the two distances differ by more than chance explains, at 95 %."""
        return told_apart(self.fid, self.fid_sd, other.fid, other.fid_sd)


@dataclass(frozen=True)
class Floor:
    """The distance of real training images from the held-out ones: what a perfect generator would score."""
    fid: float
    fid_sd: float  # under a bootstrap of the training images
    number: int  # of training images, as many as a cell has


COLUMNS = tuple(f.name for f in fields(CellResult))
Share = Callable[[Sequence[Any], Callable[[Sequence[Any]], Sequence[Any]]], list[Any]]  # see Grid


class Measured(NamedTuple):
    """One image."""
    image: Image.Image | None  # of the first job only, for the picture
    features: Tensor  # (d,)
    novelty: float
    similarity: float


class ResultTable:
    """tune.csv, and tune.json with the settings that its rows were made with.

    With `resume`, rows of an earlier call are kept. Raises UserError if they were made with other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], resume: bool) -> None:
        self.csv, self.json, self.settings = folder / "tune.csv", folder / "tune.json", settings
        self.rows: dict[tuple[Cell, int], CellResult] = {}
        if resume and self.csv.is_file() and self.json.is_file():
            require_same_settings(self.csv, read_json(self.json), settings, "leave out --resume to make it anew")
            try:
                for row in read_csv(self.csv, COLUMNS):
                    numbers = {name: float(row[name]) for name in COLUMNS}
                    self.put(CellResult(**{**numbers, "number": int(row["number"])}))
            except ValueError as error:
                raise UserError(f"{self.csv} holds something else than numbers ({error}): leave out --resume to make "
                                "it anew.") from None

    def put(self, result: CellResult) -> None:
        """Remember a row."""
        self.rows[result.cell, result.number] = result

    def write(self) -> None:
        """Write both files."""
        write_json(self.json, self.settings)
        write_csv(self.csv, COLUMNS, [[getattr(row, name) for name in COLUMNS] for row in self.rows.values()])


class Grid:
    """Makes the images of cells and measures them. It remembers features: more images of a cell cost the new ones only.

    sources   training images: images are made from them, and novelty is measured against them
    held_out  images that the distance is measured from
    surfaces  of each source, named: novelty compares those of different surfaces
    share     share(items, work) is work(items), which gives a result for each item; it may let others do a part
    writes    whether tune.csv and tune.json are written: by one of many processes

    The floor is at the number of images of a cell if there are at least as many sources.
    """

    def __init__(self, sd: StableDiffusion, settings: CellSettings, extractor: FeatureExtractor,
                 sources: Sequence[Path], held_out: Sequence[Path], folder: Path, resume: bool,
                 surfaces: Sequence[str] | None = None, share: Share = lambda items, work: list(work(items)),
                 writes: bool = True) -> None:
        self.sd, self.settings, self.extractor, self.share, self.writes = sd, settings, extractor, share, writes
        self.reference = gaussian(extractor.of_files(held_out))
        training = extractor.of_files(sources)
        order = torch.randperm(len(training), generator=torch.Generator().manual_seed(settings.seed))
        drawn = training[order[:settings.number]]
        self.floor = Floor(frechet_distance(self.reference, drawn),
                           bootstrap_sd(self.reference, drawn, np.random.default_rng(0)), len(drawn))
        self.meter = NoveltyMeter(load_nano_network(sd.device), sources, surfaces)
        self.jobs = list_jobs(sources, settings.number, settings.seed)
        used = sorted({job.source for job in self.jobs})
        self.posteriors = dict(zip(used, share(used, lambda own: encode_images(sd, own, settings.resolution))))
        self.originals = {source: read_image(source) for source in used}
        self.images: dict[Cell, list[Measured]] = {}
        self.results: dict[Cell, CellResult] = {}  # with the most images so far
        depends_on = {
            "weights": sd.sha256, "adapters": [sha256(file) for file in sd.adapter_files], "prompt": settings.prompt,
            "features": extractor.key, "seed": settings.seed, "steps": settings.steps, "sampler": settings.sampler,
            "resolution": settings.resolution, "device": sd.device.type, "dtype": str(sd.dtype),
            "images": [file.name for file in (*sources, *held_out)], "columns": COLUMNS}
        self.table = ResultTable(folder, depends_on, resume)

    def measure(self, cell: Cell, number: int) -> CellResult:
        """The result of one cell with its first `number` images. Writes it down."""
        images = self.images.setdefault(cell, [])
        result = self.table.rows.get((cell, number))
        if result is None:
            start = time.monotonic()
            self.make_images(cell, self.jobs[len(images):number])
            made = images[:number]
            generated = torch.stack([one.features for one in made])
            result = CellResult(
                cell.s, cell.w, number, fid=round(frechet_distance(self.reference, generated), 4),
                fid_sd=round(bootstrap_sd(self.reference, generated, np.random.default_rng(0)), 4),
                novelty=round(float(torch.tensor([one.novelty for one in made]).median()), 4),
                ssim=round(sum(one.similarity for one in made) / number, 4), seconds=round(time.monotonic() - start, 1))
            self.table.put(result)
            if self.writes:
                self.table.write()
        elif not images:
            self.make_images(cell, self.jobs[:1])  # for the picture
        self.results[cell] = result
        return result

    def make_images(self, cell: Cell, jobs: Sequence[Job]) -> None:
        """Make the images of `jobs` and append what is measured of each to those of the cell."""
        batches = list(batches_alike(jobs, lambda _: self.settings.batch_size,
                                     lambda job: self.posteriors[job.source].mean.shape))
        for measured in self.share(batches, lambda own: [self.measure_batch(cell, batch) for batch in own]):
            self.images[cell] += measured

    @torch.no_grad()
    def measure_batch(self, cell: Cell, jobs: Sequence[Job]) -> list[Measured]:
        """Make the images of jobs whose sources have one size, and measure each."""
        posterior = Posterior(*(torch.stack(part).to(self.sd.device)
                                for part in zip(*(self.posteriors[job.source] for job in jobs))))
        y = generate(self.sd, posterior, [job.seed for job in jobs], self.settings.prompt, strength=cell.s,
                     guidance=cell.w, steps=self.settings.steps, sampler=self.settings.sampler)
        measured = []
        for job, x in zip(jobs, y):
            original, mode = self.originals[job.source]
            image = to_image(x, original.size, mode)
            measured.append(Measured(image if job == self.jobs[0] else None, self.extractor.of_image(image),
                                     self.meter.measure([image])[0][0], similarity(image, original)))
        return measured


def search(grid: Grid, cells: Sequence[Cell], rounds: Sequence[int], min_novelty: float) -> list[CellResult]:
    """Measure the cells and print each result. Returns those of the last round.

    rounds  images a cell in each round; from one round to the next the better half of the cells goes on
    """
    results: list[CellResult] = []
    for number in rounds:
        cells = better_half(results, min_novelty) if results else cells
        results = []
        for cell in cells:
            results.append(result := grid.measure(cell, number))
            print(f"s = {cell.s:g}, w = {cell.w:g}: {grid.extractor.distance_name} {result.fid:.3f} +- "
                  f"{result.fid_sd:.3f}, novelty {result.novelty:.2f}, ssim {result.ssim:.2f} (N = {number})",
                  flush=True)
    return results


def better_half(results: Sequence[CellResult], min_novelty: float) -> list[Cell]:
    """The half of the cells, but at least two, of least distance. Cells that are not novel enough come last.

    Of those within a standard deviation of the least distance, the ones of least s and w come first, as in `choose`:
    few images rank them by chance.
    """
    least = min(results, key=lambda result: (result.novelty < min_novelty, result.fid))
    limit = least.fid + least.fid_sd
    ranked = sorted(results, key=lambda result: (result.novelty < min_novelty, max(result.fid, limit), result.cell))
    return [result.cell for result in ranked[:max(2, len(ranked) // 2)]]


def choose(results: Sequence[CellResult], min_novelty: float, floor: float) -> tuple[CellResult, CellResult]:
    """(the result chosen, the one of least distance) of those that are novel enough. Raises UserError if there is none.

    Within a standard deviation of the least distance, or below the floor, chance alone may have ranked the cells. Of
    these, the one of least s is chosen, and of equal s the one of least w: it is nearest to the sources. A distance of
    whole sets may not notice that the defects themselves are gone.
    """
    novel = [result for result in results if result.novelty >= min_novelty]
    if not novel:
        most = max(results, key=lambda result: result.novelty)
        raise UserError(f"No cell is as novel as --min-novelty {min_novelty:g}; the most novel one, s = {most.s:g}, "
                        f"w = {most.w:g}, has {most.novelty:.2f}: lower it, or try larger --strengths.")
    least = min(novel, key=lambda result: result.fid)
    as_good = [result for result in novel if result.fid <= max(least.fid + least.fid_sd, floor)]
    return min(as_good, key=lambda result: result.cell), least
