"""The first sections of the report: the verdict, the traffic lights, and the real images."""
from collections import Counter
from collections.abc import Sequence

from . import commands
from .charts import Interval, interval_chart
from .markup import Html, bullets, chart_figure, count, figure, join, missing, paragraphs, percent, points, table, tag
from .read import PARTS, Category, Findings, copies
from .survey import Survey, survey_class
from .thumbnails import contact_sheet, embed, embed_file, evenly
from .to_use import to_use
from .verdict import ClassVerdict, Gain, Word, find_gain, judge, judge_classes

SHEET_IMAGES, SHEET_SIDE = 12, 96
PAIRS_SIDE, MOST_PAIRS = 1200, 12  # pixels of a picture of overlapping pairs, and pictures
MOST_NAMED = 5  # files in a sentence
MOST_PICTURED = 24  # classes that get a contact sheet
SHAPES = {  # one for each word, so that colour is not needed to tell them apart
    Word.USE: tag("svg", tag("circle", cx=10, cy=10, r=9), viewBox="0 0 20 20", aria_hidden="true"),
    Word.CANNOT_BE_TOLD: tag("svg", tag("path", d="M10 1 L19.5 18.5 L0.5 18.5 Z"), viewBox="0 0 20 20",
                             aria_hidden="true"),
    Word.DO_NOT_USE: tag("svg", tag("path", d="M6 1 H14 L19 6 V14 L14 19 H6 L1 14 V6 Z"), viewBox="0 0 20 20",
                         aria_hidden="true")}
CLASSES = {Word.USE: "use", Word.CANNOT_BE_TOLD: "cannot", Word.DO_NOT_USE: "do-not"}


def light(word: Word, text: str | None = None) -> Html:
    """The shape, the colour and the word of a traffic light."""
    return tag("span", SHAPES[word], text or word.value, class_=f"word {CLASSES[word]}")


# ---- 1: the verdict ---------------------------------------------------------------------------------------------


def verdict_section(findings: Findings) -> list[Html]:
    """Use, do not use, or cannot be told; the gain; what would settle it; and the classifier to use."""
    gain = find_gain(findings.results)
    found = judge(findings, gain)
    made = any(category.generated for category in findings.categories)
    headline = {Word.USE: "Use the generated images",
                Word.DO_NOT_USE: "Do not use the generated images" if made else "Do not generate images",
                Word.CANNOT_BE_TOLD: "Whether generated images help cannot be told yet"}[found.word]
    lines = [tag("p", SHAPES[found.word], headline, class_="word"),
             tag("p", found.why + ("" if gain is None else f" {gain_in_words(gain)}")), tag("p", found.settle)]
    return [tag("div", *lines, class_=f"verdict {CLASSES[found.word]}"),
            *classifier_in_words(findings), *plan_in_words(findings)]


def classifier_in_words(findings: Findings) -> list[Html]:
    """The classifier to use, if one is trained."""
    chosen = to_use(findings)
    return [tag("h3", "The classifier to use"), tag("p", chosen.words)] if chosen else []


def gain_in_words(gain: Gain) -> str:
    """Both accuracies, and the gain with its interval."""
    found, setup = gain.comparison, gain.result.setup
    accuracy = [sum(map(sum, one.correct[:found.seeds])) / found.seeds / len(setup.test_files)
                for one in (gain.result, gain.control)]
    what = "real images alone in as many steps" if gain.is_fair else "real images alone, in fewer steps"
    return (f"Accuracy on {len(setup.test_files)} test images: {percent(accuracy[0])} with generated images, "
            f"{percent(accuracy[1])} with {what}. The gain is {points(found.difference)} points; 95 % interval "
            f"{points(found.low)} to {points(found.high)} ({setup.network}, {count(found.seeds, 'seed')}).")


def plan_in_words(findings: Findings) -> list[Html]:
    """What plan recommends, or the command that asks it."""
    if findings.plan.get("headline"):
        further = map(str, findings.plan.get("advice", {}).get("further", ()))
        return [tag("h3", "What plan said before any training"), tag("p", tag("b", findings.plan["headline"])),
                bullets(further)]
    return [missing("Nobody has asked yet whether generation is needed at all. This takes a minute or two:",
                    f"python -m stablesdg.plan {commands.data_of(findings)}{commands.runs_of(findings)}")]


# ---- 2: traffic lights ------------------------------------------------------------------------------------------


def lights_section(findings: Findings) -> list[Html]:
    """A row for each class."""
    gain = find_gain(findings.results)
    lights = judge_classes(findings.categories, gain, findings.real_only)
    rows = [light_row(category, lights[category.name]) for category in findings.categories]
    header = ("class", "light", "real images", "surfaces", "test images", "generated", "kept", "recall without",
              "recall with", "change, points")
    note = ("Recall is the share of a class's test images that the classifier recognises. “Without” is "
            + ("real images alone in as many steps." if gain and gain.is_fair else "real images alone.")
            + " Below each change is its 95 % interval. Kept are those that the filter of section 5 let through. A "
              "surface is a piece of material: images that overlap show one.")
    return [table("A traffic light for each class", header, rows, stacked=True, text_columns=2),
            tag("p", note, class_="soft")]


def light_row(category: Category, found: ClassVerdict) -> list[str | int]:
    """The cells of one class."""
    change: str = "–"
    if found.comparison:
        change = tag("div", points(found.comparison.difference), Html("<br>"),
                     tag("small", f"{points(found.comparison.low)} to {points(found.comparison.high)}"))
    made = len(category.generated)
    kept = f"{made - len(category.rejected)}" if category.is_filtered else "–"
    why = tag("div", light(found.word), tag("span", found.why, class_="why"), class_="light")
    return [category.name, why, category.n_images, sum(category.surfaces.values()), len(category.images["test"]),
            made or "–", kept, percent(found.recall_without), percent(found.recall_with), change]


# ---- 3: the real images -----------------------------------------------------------------------------------------


def data_section(findings: Findings) -> list[Html]:
    """Parts, sizes, bits, copies, leaks, brightness, odd files, a contact sheet for each class."""
    if not findings.split:
        parts: list[Html] = [missing("The data set has no split yet.", commands.split(findings))]
    else:
        parts = [parts_table(findings), *split_in_words(findings)]
    parts += overlap_pictures(findings)
    if findings.data is None:
        parts.append(missing("No run says where the folder of real images is, or it has moved. Name it, and the report "
                             "shows sizes, bits, brightness and contact sheets:",
                             f"{commands.report(findings)} --data FOLDER"))
        return parts
    surveys = [survey_class(findings.data / category.name) for category in findings.categories
               if (findings.data / category.name).is_dir()]
    return [*parts, tag("h3", "Files"), files_table(surveys), bullets(files_in_words(surveys)),
            *brightness_chart(surveys), *contact_sheets(surveys)]


def parts_table(findings: Findings) -> Html:
    """Images and surfaces of each part and class."""
    rows = [[category.name, *(f"{len(category.images[part]):,} ({category.surfaces[part]:,})" for part in PARTS)]
            for category in findings.categories]
    return table("Images of each part, in brackets their different surfaces",
                 ("class", "training", "validation", "test"), rows)


def split_in_words(findings: Findings) -> list[Html]:
    """How the parts were made, and what that means."""
    split = findings.split
    shares = " : ".join(f"{ratio:g}" for ratio in split.get("ratios", ()))
    if split.get("method") == "random":
        lines = [f"The parts were drawn at random ({shares}), as most publications do. Images of one surface may lie "
                 "in the training and in the test part: the accuracies below are then too high."]
    else:
        lines = [f"The parts ({shares}) keep images that overlap together: no test image shows a surface that the "
                 "training part has, as far as the search finds it."]
    same = copies(split.get("files", {}))
    if same:
        across = [group for group in same if len({name.split("/")[0] for name in group}) > 1]
        shown = "; ".join(" = ".join(group[:3]) for group in same[:MOST_NAMED])
        lines.append(f"Files with the same bytes: {count(len(same), 'picture')}, {shown}"
                     + (" and others." if len(same) > MOST_NAMED else "."))
        if across:
            lines.append(f"Warning: of these, {count(len(across), 'picture')} with two classes, so one label is wrong.")
    else:
        lines.append("No two files have the same bytes.")
    return [paragraphs(lines + audit_in_words(findings))]


def audit_in_words(findings: Findings) -> list[str]:
    """What the search for overlaps found, a sentence each, if plan has made it."""
    audit = findings.plan.get("audit", {})
    if not audit:
        return []
    pairs, leaked = audit.get("pairs", 0), audit.get("leaked", [])
    lines = [f"{count(pairs, 'pair')} of images show one surface"
             + (f", {audit['pairs_across']} of them in two classes." if audit.get("pairs_across") else ".")]
    if pairs and (limits := audit.get("hash")):
        lines[0] += (f" A perceptual hash of which {limits[-1]['bits']} bits may differ would have found "
                     f"{limits[-1]['linked']} of them.")
    if leaked:
        lines.append(f"Warning: {count(len(leaked), 'image')} outside the training part share surface with it.")
    return lines + [str(note) for note in audit.get("notes", ())]


def overlap_pictures(findings: Findings) -> list[Html]:
    """Pairs of images that share a surface."""
    if not findings.overlaps and findings.plan.get("audit"):
        return []  # they were searched for, and none was found
    named = [("Images of two classes" if (name := file.stem.partition("-")[2]) == "across" else name, file)
             for file in findings.overlaps[:MOST_PAIRS]]
    shown = [(name, image) for name, file in named
             if (image := embed_file(file, PAIRS_SIDE, f"Overlapping images: {name}"))]
    figures = [tag("details", tag("summary", name), figure(image, "Each row is a pair that shows one surface. On the "
                                                                  "right they are laid over each other."),
                   open=None if k else "") for k, (name, image) in enumerate(shown)]
    if figures:
        return [tag("h3", "Images that overlap"), *figures]
    return [missing("No picture of overlapping pairs is here. This searches for them, and draws those it finds:",
                    commands.split(findings, " --check"))]


def most_common(counter: Counter[str]) -> str:
    """What most have, and how many others there are."""
    if not counter:
        return "–"
    (value, n), rest = counter.most_common(1)[0], len(counter) - 1
    return value if not rest else f"{value} ({n} of {counter.total()}; {count(rest, 'other')})"


def range_of(sizes: Counter[str]) -> str:
    """The size that most images have, or from what to what both sides go."""
    if not sizes or 2 * sizes.most_common(1)[0][1] > sizes.total():
        return most_common(sizes)
    sides = zip(*[map(int, size.split(" × ")) for size in sizes])
    return " × ".join(f"{min(side)}" if min(side) == max(side) else f"{min(side)} to {max(side)}"
                      for side in map(list, sides))


def files_table(surveys: Sequence[Survey]) -> Html:
    """Sizes, bits and brightness of the files of each class."""
    rows = [[one.name, len(one.files), range_of(one.sizes), most_common(one.bits), f"{one.brightness[1]:.0f}",
             len(one.odd)] for one in surveys]
    return table("Files of each class", ("class", "images", "pixels", "bits", "median gray level", "odd files"), rows)


def files_in_words(surveys: Sequence[Survey]) -> list[str]:
    """What is odd about the files, a sentence each."""
    lines = []
    sizes = Counter(size for one in surveys for size in one.sizes.elements())
    lines.append(f"All images have {next(iter(sizes))} pixels." if len(sizes) == 1 else
                 f"Images come in {len(sizes)} sizes. If a size belongs to one class, a classifier can learn the size.")
    for one in surveys:
        if one.odd:
            more = f" and {len(one.odd) - MOST_NAMED} more" if len(one.odd) > MOST_NAMED else ""
            lines.append(f"Odd files in {one.name}: {', '.join(one.odd[:MOST_NAMED])}{more}. No script uses files that "
                         "are no images; those that cannot be read must be repaired or removed.")
    return lines


def brightness_chart(surveys: Sequence[Survey]) -> list[Html]:
    """Whether classes can be told by their brightness alone."""
    measured = [one for one in surveys if one.sizes]
    if not measured:
        return []
    apart = [(a.name, b.name) for k, a in enumerate(measured) for b in measured[k + 1:]
             if a.brightness[2] < b.brightness[0] or b.brightness[2] < a.brightness[0]]
    said = ("The ranges of all classes overlap: none can be told by its brightness alone." if not apart else
            f"{apart[0][0]} and {apart[0][1]} differ in brightness alone"
            + (f", as do {count(len(apart) - 1, 'other pair')}" if len(apart) > 1 else "")
            + ". A classifier may learn the light instead of the defect.")
    rows = [Interval(one.name, one.brightness[1], one.brightness[0], one.brightness[2]) for one in measured]
    chart = interval_chart(rows, "mean gray level of an image (0 is black, 255 is white)", said)
    return [tag("h3", "Brightness"), chart_figure(said, chart, "Point: median; line: 90 % of the images.")]


def contact_sheets(surveys: Sequence[Survey]) -> list[Html]:
    """Some images of each class."""
    figures = []
    for one in surveys[:MOST_PICTURED]:
        sheet = contact_sheet(evenly(one.files, SHEET_IMAGES), SHEET_SIDE)
        if sheet:
            shown = min(SHEET_IMAGES, len(one.files))
            figures.append(figure(embed(sheet, f"Real images of {one.name}"),
                                  f"{one.name}: {shown} of {count(len(one.files), 'real image')}"))
    return [tag("h3", "Real images"), tag("div", join(figures), class_="triples")]
