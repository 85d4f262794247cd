"""Composites for sample.py: pasted, welded by the prior, measured and drawn."""
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..compose.given import read_given
from ..compose.labels import write_labels
from ..compose.pairs import Composer, Composite, require_pairs
from ..compose.paste import lay_in, region_to_redraw
from ..compose.seam import seam_ratio
from ..compose.weld import weld
from ..data.folders import name_of
from ..data.generated import BOXES, MASKS, ImageSet, Job, Row
from ..data.images import Source, fit_size, read_image, to_image, to_tensor
from ..data.split import surfaces_of
from ..report.pairs import PAIRS_SHOWN, Composition, save_compositions
from .makers import ImageMaker, Made
from .sampling import Prior, SamplingSettings, open_prior
from .sources import RealImages


def open_composer(settings: SamplingSettings, real: RealImages) -> tuple[Composer, RealImages]:
    """(where defects come from and may go, the images without those sources that have no defect marked)."""
    given = read_given(settings.masks, settings.boxes, settings.box_class, real.sources)
    print(f"defects: {f'given by {settings.masks or settings.boxes}' if given else 'sought in the images'}; the prior "
          f"redraws the {settings.region}")
    if given is None:
        print("warning: found defects are often wrong on striped or shaded surfaces: look at the preview, and give "
              "--masks or --boxes there")
    elif unmarked := given.unmarked():
        print(f"warning: {len(unmarked)} of the {len(real.sources)} images are no sources, because their masks have no "
              f"white pixel: {', '.join(file.name for file in unmarked)}")
        real = replace(real, sources=[file for file in real.sources if file not in unmarked])
    files = {*real.sources, *(file for file in real.grounds if name_of(file) in real.split["files"])}
    surfaces = dict(zip(files, surfaces_of(real.split, files)))
    require_pairs(real.sources, real.grounds, surfaces)
    return Composer(real.grounds, surfaces, given), real


def open_compose(settings: SamplingSettings, folder: Path, record: Mapping[str, Any], composer: Composer) -> ImageMaker:
    """Composites, welded with the adapters of a run. At s = 0 they are pasted, and no model is loaded."""
    prior = None if settings.strength == 0 else open_prior(settings, folder, record)

    def make(batch: Sequence[Source[Job]], seeds: Sequence[int]) -> list[Made]:
        composites = [composer.draw(source.job.source, seed) for source, seed in zip(batch, seeds)]
        regions = [region_to_redraw(composite.mask, settings.region) for composite in composites]
        redrawn = redraw(prior, composites, regions, seeds) if prior else [(c.pasted, 0.0) for c in composites]
        made = []
        for source, composite, region, (levels, s) in zip(batch, composites, regions, redrawn):
            final = lay_in(levels, composite.pasted, region)
            made.append(Made(Image.fromarray(final).convert(source.mode),
                             {"s": f"{s:g}", **describe(composite, final, settings.region)},
                             Image.fromarray(composite.mask)))
        return made

    given = composer.given.digest() if composer.given else None
    depends_on = {"compose": True, "region": settings.region, "given": given, "grounds": len(composer.grounds)}
    if prior is None:
        columns = {"s": "0", "w": "", "sampler": "pasted", "steps": ""}
        print("pasted, without the prior")
        return ImageMaker(make, "pasted", columns=columns, resolution=None, multiple=1,
                          depends_on={**depends_on, "s": 0}, seen=frozenset())
    return ImageMaker(make, f"welded, s = {prior.strength}, w = {prior.w:g}", columns=prior.columns(), resolution=None,
                      multiple=1, depends_on={**prior.depends_on(), **depends_on}, seen=prior.trained.seen,
                      sd=prior.sd)


def redraw(prior: Prior, composites: Sequence[Composite], regions: Sequence[np.ndarray],
           seeds: Sequence[int]) -> list[tuple[np.ndarray, float]]:
    """(levels (H, W, 3), s) of each composite after the prior has been over its region. They are of one size."""
    height, width = composites[0].mask.shape
    size = fit_size(width, height, prior.trained.resolution, prior.sd.vae.factor)
    x = torch.stack([to_tensor(Image.fromarray(c.pasted).resize(size, Image.Resampling.LANCZOS)) for c in composites])
    region = torch.stack([region_tensor(area, size) for area in regions])
    redrawn = []
    for part, s in prior.parts(seeds):
        path = prior.path(s)
        if path:
            y = weld(prior.sd, x[part], region[part], seeds[part], prior.trained.prompt, path, guidance=prior.w,
                     sampler=prior.sampler, uncond=prior.settings.uncond)
            redrawn += [(np.asarray(to_image(image, (width, height))), s) for image in y]
        else:
            redrawn += [(c.pasted, s) for c in composites[part]]
    return redrawn


def region_tensor(area: np.ndarray, size: tuple[int, int]) -> Tensor:
    """bool (H, W) -> (1, h, w) for an image of `size` (width, height): 1 where any pixel of the region lies."""
    shares = Image.fromarray(area.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
    return (torch.from_numpy(np.array(shares)) > 0).float()[None]


def describe(composite: Composite, final: np.ndarray, region: str) -> dict[str, str]:
    """The manifest's columns of one composite."""
    place = composite.place
    seams = {"seam": seam_ratio(final, composite.mask), "seam_pasted": seam_ratio(composite.pasted, composite.mask),
             "seam_source": seam_ratio(composite.source, composite.source_mask)}
    return {"ground": name_of(composite.ground_file), "mask": composite.kind, "region": region,
            "share": f"{composite.mask.mean():.4f}", "mirror": "x" * place.mirror_x + "y" * place.mirror_y,
            "dx": str(place.dx), "dy": str(place.dy),
            **{name: "" if isnan(value) else f"{value:.3f}" for name, value in seams.items()}}


def save_labels(images: ImageSet, jobs: Sequence[Job], category: str) -> None:
    """Write the boxes of all composites beside them."""
    masks = {images.partial / row["file"]: images.partial / MASKS / row["file"] for row in images.made(jobs)}
    write_labels(images.partial / BOXES, masks, category)


def report_seams(rows: Sequence[Row]) -> None:
    """Say how the masks were found, and whether a seam can be measured."""
    kinds = [row["mask"] for row in rows]
    print("masks: " + ", ".join(f"{kind} {kinds.count(kind)}" for kind in sorted(set(kinds))))
    seam, pasted, source = (median([float(row[name]) for row in rows if row[name]] or [float("nan")])
                            for name in ("seam", "seam_pasted", "seam_source"))
    print(f"seam: gradient across the border is {seam:.2f} times that elsewhere (pasted: {pasted:.2f}; around the "
          f"defects in their own images: {source:.2f}; medians)")


def save_preview(folder: Path, images: ImageSet, rows: Sequence[Row], jobs: Sequence[Job], composer: Composer,
                 label: str) -> None:
    """Draw the first composites beside what they were made of."""
    source_of = {job.name: job.source for job in jobs}
    shown = []
    for row in rows[:PAIRS_SHOWN]:
        composite = composer.draw(source_of[row["file"]], int(row["seed"]))
        shown.append(Composition(
            source=source_of[row["file"]], source_mask=composite.source_mask, ground=Image.fromarray(composite.ground),
            pasted=Image.fromarray(composite.pasted), composite=read_image(images.partial / row["file"])[0],
            caption=f"{row['mask']}, {float(row['share']):.0%} of the image\nseam {row['seam']}"))
    save_compositions(folder / f"preview-{images.out.name}.png", shown, label)
