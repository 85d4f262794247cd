"""The sections about generated images: what was made, whether the defect is still there, copies and outliers."""
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from ..evaluate.filter import NOT_JUDGED
from ..evaluate.novelty import COPY_NOVELTY, STRANGE_NOVELTY
from . import commands
from .charts import Limit, histogram
from .markup import Html, as_html, chart_figure, clipped, count, figure, join, missing, percent, table, tag
from .pairs import DIFFERENCE_GAIN
from .read import Category, Findings, GeneratedImage
from .thumbnails import embed_file, embed_triple

NEARLY_THE_SOURCE = 0.85  # median SSIM: above, the eye sees the same picture with other grain
MOST_PICTURED = 24  # classes whose images are shown
SIDES = ((6, 320), (12, 256), (MOST_PICTURED, 160))  # (at most so many classes, pixels of a picture at full size)
REJECTED_SHOWN, REJECTED_SIDE = 6, 160
EXTREMES_SHOWN, EXTREMES_SIDE = 4, 160


def picture_side(findings: Findings) -> int:
    """Pixels of a picture at full size: the more classes, the fewer, so that the page stays small."""
    return next((side for most, side in SIDES if len(findings.categories) <= most), SIDES[-1][1])


def source_file(findings: Findings, name: str) -> Path | None:
    """The real image that a manifest names, if it is there."""
    file = findings.data / name if findings.data and name else None
    return file if file and file.is_file() else None


def scores(image: GeneratedImage) -> str:
    """The figures of one image in words."""
    said = [f"novelty {image.novelty:.2f}" if image.novelty is not None else "",
            f"SSIM {image.ssim:.2f}" if image.ssim is not None else "",
            f"class evidence {percent(image.evidence, 0)}" if image.evidence is not None else ""]
    words = ", ".join(part for part in said if part)
    return words[:1].upper() + words[1:]


# ---- 4: what was made -------------------------------------------------------------------------------------------


def made_section(findings: Findings) -> list[Html]:
    """Source, generated image and difference of the best, the typical and the worst image of each class."""
    if not findings.wants_images:
        return [tag("p", "No images are needed: see the verdict.")]
    made = [category for category in findings.categories if category.generated]
    lacking = [category for category in findings.categories
               if not category.generated and category.name not in findings.real_only]
    parts: list[Html] = []
    if made:
        parts += [made_table(made), tag("p", measure_in_words(made), class_="soft")]
        if near := [one.name for one in made if (likeness := likeness_of(one)) and likeness > NEARLY_THE_SOURCE]:
            parts.append(tag("p", f"The images of {', '.join(near)} are nearly their sources, with other grain, "
                                  "however novel their features are. A classifier learns little from them. A larger "
                                  "strength s changes more: look then whether the defects are still there."))
    for category in made[:MOST_PICTURED]:
        parts += [tag("h3", category.name), tag("div", *(
            triple(findings, category, image, what) for what, image in examples(category.generated)),
            class_="triples")]
    if lacking:
        names = ", ".join(category.name for category in lacking)
        first = lacking[0].name
        parts.append(missing(f"No image was generated of {names}. For each class, this makes them:", "\n".join(
            commands.of_category(findings, first, script) for script in ("train_ti", "train_lora", "sample"))))
    return parts


def made_table(made: Sequence[Category]) -> Html:
    """How many, how novel, how near to real images."""
    rows = []
    for category in made:
        novelties = [image.novelty for image in category.generated if image.novelty is not None]
        likeness = likeness_of(category)
        fid = category.fid.get("fid")
        rows.append([category.name, len(category.generated), f"{median(novelties):.2f}" if novelties else "–",
                     "–" if likeness is None else f"{likeness:.2f}",
                     "–" if fid is None else f"{fid:.1f} ({category.fid.get('name', 'FID')})"])
    return table("Generated images of each class",
                 ("class", "images", "median novelty", "median SSIM to source", "distance from real images"), rows)


def likeness_of(category: Category) -> float | None:
    """The median SSIM of a class's generated images to their sources, as far as it is known."""
    known = [image.ssim for image in category.generated if image.ssim is not None]
    return median(known) if known else None


def measure_in_words(made: Sequence[Category]) -> str:
    """What the scores mean, and by which the examples are ordered."""
    ordered = ("Best and worst are those of most and least class evidence, by the classifier of real images."
               if any(image.evidence is not None for one in made for image in one.generated) else
               "No classifier has judged the images yet, so they are ordered by how much they changed.")
    return ("Novelty is the distance from the nearest training image: 0 is a copy, 1 is as far as real images of other "
            "surfaces are apart. SSIM is the likeness to the source: 1 is the same picture. Differences are drawn "
            f"{DIFFERENCE_GAIN} times as large. {ordered}")


def examples(images: Sequence[GeneratedImage]) -> list[tuple[str, GeneratedImage]]:
    """The best, the typical and the worst, by class evidence, or else the least, typically and most changed one."""
    judged = sorted((image for image in images if image.evidence is not None), key=lambda i: -(i.evidence or 0))
    by_change = sorted((image for image in images if image.novelty is not None), key=lambda i: i.novelty or 0)
    ordered = judged or by_change or list(images)
    names = ("best", "typical", "worst") if judged else ("least changed", "typical", "most changed")
    if len(ordered) < 3:
        return list(zip(names, ordered))
    return list(zip(names, (ordered[0], ordered[len(ordered) // 2], ordered[-1])))


def triple(findings: Findings, category: Category, image: GeneratedImage, what: str) -> Html:
    """Three pictures side by side, and the score under them."""
    alt = f"{category.name}, {what}"
    pictures = embed_triple(source_file(findings, image.source), image.file, picture_side(findings), alt)
    shown = "source, generated, difference" if len(pictures) == 3 else "generated"
    origin = f" from {clipped(image.source)}" if image.source else ""
    caption = join([tag("b", what[0].upper() + what[1:]), f": {shown}. ", scores(image),
                    f" ({image.file.name}{origin})"])
    return figure(tag("div", *pictures), caption, "triple")


# ---- 5: is the defect still there -------------------------------------------------------------------------------


def evidence_section(findings: Findings) -> list[Html]:
    """The share of generated images that a classifier of real images recognises, and those that were rejected."""
    if not findings.wants_images:
        return [tag("p", "There are no generated images: see the verdict.")]
    judged = [category for category in findings.categories if category.is_filtered]
    if not judged:
        return [missing(
            "No classifier of real images has judged the generated ones yet. Until then, look at section 4: would a "
            "person give them the same label? This judges them:",
            commands.classify(findings, "expand", " --filter"))]
    rows, parts, unknown = [], [], []
    for category in judged:
        made, rejected = len(category.generated), category.rejected
        known = not any(image.why == NOT_JUDGED for image in category.generated)
        unknown += [] if known else [category.name]
        reasons = ", ".join(f"{sum(image.why == why for image in rejected)} {why}" for why in
                            sorted({image.why for image in rejected}) if why)
        share = percent((made - len(rejected)) / made, 0) if known else NOT_JUDGED
        rows.append([category.name, made, made - len(rejected), share, reasons or "–"])
        pictures = [(image, embed_file(image.file, REJECTED_SIDE, f"{category.name}, rejected"))
                    for image in rejected[:REJECTED_SHOWN if len(rows) <= MOST_PICTURED else 0]]
        shown = [tag("li", figure(picture, f"{image.file.name}: {image.why or 'rejected'}. {scores(image)}"))
                 for image, picture in pictures if picture]
        if shown:
            parts += [tag("h3", f"{category.name}: rejected"), tag("ul", *shown, class_="pictures")]
    return [tag("p", evidence_in_words(rows, unknown)),
            table("Generated images that passed the filter", ("class", "generated", "kept", "share", "rejected"), rows),
            *parts]


def evidence_in_words(rows: Sequence[Sequence[str | int]], unknown: Sequence[str]) -> str:
    """What the rows (class, generated, kept, ..) say. `unknown` are the classes that could not be judged."""
    judged = [row for row in rows if row[0] not in unknown]
    made, kept = (sum(int(row[k]) for row in judged) for k in (1, 2))
    said = [] if not made else [
        f"A classifier that has seen real images alone recognises the class of {kept} of {count(made, 'image')} "
        f"({percent(kept / made, 0)}). The others are not used for training."]
    if unknown:
        said.append(f"A classifier recognises less than half of the real images of {', '.join(unknown)} when it has "
                    "not seen their surface. So it cannot tell whether the generated ones still show the defect. They "
                    "are used for training all the same: look at them in section 4.")
    return " ".join(said)


# ---- 6: copies and outliers -------------------------------------------------------------------------------------


def novelty_section(findings: Findings) -> list[Html]:
    """A histogram of novelty with both limits; the images beyond them."""
    images = [image for category in findings.categories for image in category.generated if image.novelty is not None]
    if not images:
        return [tag("p", "There are no generated images to look at.")]
    values = [image.novelty or 0.0 for image in images]
    near, far = sum(v < COPY_NOVELTY for v in values), sum(v > STRANGE_NOVELTY for v in values)
    said = (f"{near} of {count(len(images), 'image')} are near copies of a training image, and {far} are unlike "
            "anything real.")
    chart = histogram(values, (Limit(COPY_NOVELTY, "copies"), Limit(STRANGE_NOVELTY, "outliers")),
                      "novelty (1 is as far as real images of other surfaces are apart)", said)
    ordered = sorted(images, key=lambda image: image.novelty or 0.0)
    caption = ("Left of the first limit lie copies, right of the second one outliers. The last bar has all that lies "
               "beyond it.")
    return [chart_figure(said, chart, caption),
            extremes(findings, "Least novel, beside the nearest training image", ordered[:EXTREMES_SHOWN]),
            extremes(findings, "Most novel, beside the nearest training image", ordered[::-1][:EXTREMES_SHOWN])]


def extremes(findings: Findings, title: str, images: Sequence[GeneratedImage]) -> Html:
    """Generated images, each beside its nearest training image."""
    shown = []
    for image in images:
        pair = (image.file, "generated"), (source_file(findings, image.nearest), "nearest training image")
        pictures = [embed_file(file, EXTREMES_SIDE, alt) for file, alt in pair if file]
        name, nearest = clipped(f"{image.file.parent.parent.name}/{image.file.name}"), clipped(image.nearest)
        caption = f"{name}, novelty {image.novelty or 0:.2f}; nearest: {nearest or 'unknown'}"
        shown.append(tag("li", figure(join(picture for picture in pictures if picture), caption)))
    return join([as_html(tag("h3", title)), tag("ul", *shown, class_="pictures")])
