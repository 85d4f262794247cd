"""The sections about results: does it help, and which settings were chosen and why."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..evaluate.score import told_apart
from ..recognise.per_class import recalls
from ..recognise.results import Result, accuracy
from ..recognise.verdicts import describe_all
from . import commands
from .charts import Interval, curve_chart, growth_chart, heat_map, interval_chart
from .markup import Html, bullets, captioned, chart_figure, count, missing, percent, points, table, tag
from .pictures import LEAST_CHANGE_SHOWN
from .read import Category, Curve, Findings, Prediction
from .to_use import name_of, to_use
from .verdict import Gain, find_gain

ALARM_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
DOUBT_THRESHOLDS = (0.5, 0.7, 0.9, 0.95, 0.99)
MOST_GROWTH = 20  # times the real images: no curve says anything beyond
MOST_BATCHES = 160  # points of a training loss in a chart; each is the mean of its neighbours
STAGE_WORDS = {"ti": "Token embedding", "lora": "LoRA", "full": "Full adaptation"}


# ---- 7: does it help --------------------------------------------------------------------------------------------


def help_section(findings: Findings) -> list[Html]:
    """Arms side by side, verdicts, confusion, missed defects and false alarms."""
    dropped = [tag("p", f"Left out, because they were tested on other images than the split has now: {name}. Train it "
                        "again with --replace.") for name in findings.outdated]
    if not findings.results:
        return [*dropped, *growth(findings, None), missing(
            "No classifier has been trained yet. These train one on real images, one on real and generated images, "
            "and the control that decides:", "\n".join(commands.classify(findings, arm)
                                                       for arm in commands.DECIDING_ARMS))]
    gain = find_gain(findings.results)
    parts: list[Html] = [*growth(findings, gain), arms_chart(findings.results, gain), arms_table(findings.results)]
    parts += [tag("h3", "Which arms can be told apart"), bullets(describe_all(findings.results, "the classify folder"))]
    parts += [tag("h3", "What is taken for what"), *(
        confusion_table(result) for result in ((gain.control, gain.result) if gain else findings.results[:2]))]
    return [*dropped, *parts, *thresholds(findings)]


def growth(findings: Findings, gain: Gain | None) -> list[Html]:
    """What more real images would bring, by plan's learning curves, and how many of them the gain is worth."""
    curves = [curve for curve in findings.plan.get("curves", ()) if curve.get("points")]
    if not curves:
        return []
    found = {str(curve["name"]): [(float(p["per_class"]), 100 * float(p["balanced"])) for p in curve["points"]]
             for curve in curves}
    best = max(curves, key=lambda curve: curve["points"][-1]["balanced"])
    said = f"Real images alone: {best['name']} reaches {percent(best['points'][-1]['balanced'])} balanced accuracy"
    caption = "Linear classifiers on features that are not trained, tested on surfaces that they have not seen."
    if doubling := best.get("doubling"):
        caption += (f" Twice the real images would bring {points(doubling['gain'])} points ({points(doubling['low'])} "
                    f"to {points(doubling['high'])}), if the curve goes on as it did.")
        caption += worth_in_images(gain, float(doubling["exponent"]), float(doubling["per_class"]))
    chart = growth_chart(found, "real images a class, each step a doubling", said)
    return [tag("h3", "Without generated images"), chart_figure(said, chart, caption),
            tag("h3", "With generated images")]


def worth_in_images(gain: Gain | None, exponent: float, per_class: float) -> str:
    """Image equivalents: how many more real images would bring the gain, where the error falls as images^-exponent."""
    if gain is None or exponent <= 0:
        return ""
    error = 1 - float(np.mean(gain.control.correct[:gain.comparison.seeds]))
    if error <= 0:
        return ""

    def images(change: float) -> str:
        if error - change <= MOST_GROWTH ** -exponent * error:
            return f"more than {(MOST_GROWTH - 1) * per_class:.0f}"
        return f"{per_class * ((error / (error - change)) ** (1 / exponent) - 1):+.0f}".replace("-", "−")

    found = gain.comparison
    return (f" By that law the gain of the generated images is worth {images(found.difference)} real images a class "
            f"(95 % interval: {images(found.low)} to {images(found.high)}).")


def arms_chart(results: Sequence[Result], gain: Gain | None) -> Html:
    """The accuracy of each arm with its interval."""
    ordered = sorted(results, key=lambda one: (-accuracy(one).mean, one.n_extra))
    rows = []
    for result in ordered:
        found = accuracy(result)
        rows.append(Interval(f"{name_of(result)}: {percent(found.mean)}", 100 * found.mean, 100 * found.low,
                             100 * found.high, gain is not None and result.setup.stem == gain.result.setup.stem))
    said = f"Highest of {count(len(rows), 'arm')}: {name_of(ordered[0])}"
    caption = ("Lines are 95 % intervals of each arm alone. All arms have the same test images, so a difference can be "
               "clear where lines overlap. The square is the arm that the verdict is about.")
    return chart_figure(said, interval_chart(rows, "accuracy on the test images (%)", said), caption)


def arms_table(results: Sequence[Result]) -> Html:
    """The same in numbers, with macro-F1, steps and numbers of images."""
    rows = []
    for result in results:
        found, last = accuracy(result), result.seeds[-1]
        f1 = float(np.mean([one.macro_f1 for one in result.seeds]))
        rows.append([name_of(result), percent(found.mean), f"{percent(found.low)} to {percent(found.high)}",
                     percent(f1), len(result.seeds), f"{result.mean_steps:,.0f}", f"{last.n_real:,}",
                     f"{last.n_generated:,}"])
    return table("Arms side by side", ("arm", "accuracy", "95 % interval", "macro-F1", "seeds", "steps",
                                       "real images", "other images"), rows)


def confusion_table(result: Result) -> Html:
    """Percent of each true class and images, in shades; right answers have a frame."""
    classes, counts = result.setup.classes, result.confusion
    head = tag("tr", tag("th", "true class", scope="col"),
               *(tag("th", f"→ {name}", scope="col", class_="name") for name in classes))
    body = []
    for k, (name, row) in enumerate(zip(classes, counts)):
        n = row.sum()
        cells = [tag("td", percent(value / (n or 1), 0), tag("br"), tag("small", f"{value:.1f}".removesuffix(".0")),
                     class_="share right" if j == k else "share", style=f"--share: {value / (n or 1):.3f}")
                 for j, value in enumerate(row)]
        body.append(tag("tr", tag("th", f"{name} (n = {n:.0f})", scope="row"), *cells))
    found = recalls(counts)
    worst = int(np.nanargmin(found))
    off = counts[worst].copy()
    off[worst] = -1
    said = f"{name_of(result)}: all images are recognised"
    if off.max() > 0:
        said = (f"{name_of(result)}: of {classes[worst]} the fewest are recognised, {percent(float(found[worst]), 0)}; "
                f"most of the others are taken for {classes[int(off.argmax())]}")
    caption = f"{said}. Percent of the true class, below it images (mean of {count(len(result.seeds), 'seed')})"
    return captioned(caption, tag("table", tag("thead", head), tag("tbody", *body), aria_label=said))


# ---- thresholds -------------------------------------------------------------------------------------------------


def thresholds(findings: Findings) -> list[Html]:
    """Missed defects and false alarms, or, without a class of good surfaces, doubtful images and errors."""
    title = tag("h3", "Missed defects and false alarms")
    parts, good = [], str(findings.expansion.get("good", ""))
    for name, rows in findings.predictions.items():
        known = tested_rows(findings, rows)
        if known:
            parts.append(alarm_table(name, known, good) if good in known[0].probabilities else doubt_table(name, known))
    if parts:
        return [title, *parts]
    chosen = to_use(findings)
    setup = (chosen.result if chosen else findings.results[0]).setup
    model = findings.folder / "classify" / f"{setup.stem}.safetensors"
    return [title, missing(
        "These need the probabilities of labelled images that no training has seen: the exported test part, or new "
        "images, with one folder for each class.",
        f"python -m stablesdg.plan {commands.data_of(findings)} --export parts{commands.runs_of(findings)}\n"
        f"python classify.py --evaluate parts/test --model {commands.quoted(model)}")]


def tested_rows(findings: Findings, rows: Sequence[Prediction]) -> list[Prediction]:
    """The images that are not in the training or validation part."""
    files: Mapping[str, Any] = findings.split.get("files", {})
    return [row for row in rows if files.get(row.file, {"part": "test"})["part"] == "test"]


def alarm_table(name: str, rows: Sequence[Prediction], good: str) -> Html:
    """An alarm is given where the probability of a defect, of any class, reaches the threshold."""
    defects = [1 - row.probabilities[good] for row in rows if row.true != good]
    fine = [1 - row.probabilities[good] for row in rows if row.true == good]
    lines = []
    for threshold in ALARM_THRESHOLDS:
        missed, alarms = sum(p < threshold for p in defects), sum(p >= threshold for p in fine)
        lines.append([f"{threshold:g}", f"{missed} of {len(defects)} ({percent(missed / max(1, len(defects)))})",
                      f"{alarms} of {len(fine)} ({percent(alarms / max(1, len(fine)))})"])
    return table(f"{name}: an alarm is given from this probability of a defect on",
                 ("threshold", "missed defects", f"false alarms on {good}"), lines)


def doubt_table(name: str, rows: Sequence[Prediction]) -> Html:
    """Images whose best class is less probable than the threshold go to a person; the others are decided."""
    lines = []
    for threshold in DOUBT_THRESHOLDS:
        sure = [row for row in rows if max(row.probabilities.values()) >= threshold]
        wrong = sum(max(row.probabilities, key=lambda c: row.probabilities[c]) != row.true for row in sure)
        lines.append([f"{threshold:g}", f"{len(rows) - len(sure)} of {len(rows)}",
                      f"{wrong} of {len(sure)} ({percent(wrong / len(sure))})" if sure else "–"])
    return table(f"{name}: no class is one of good surfaces, so there are no false alarms to count. Images below the "
                 "threshold go to a person", ("threshold", "to a person", "wrong among the others"), lines)


# ---- 8: settings ------------------------------------------------------------------------------------------------


def settings_section(findings: Findings) -> list[Html]:
    """The tune map with its uncertainty, and the training curves with a sentence each."""
    parts: list[Html] = []
    for category in findings.categories:
        own = [*tune_figure(category), *(curve_figure(curve) for curve in category.curves)]
        if own:
            parts += [tag("h3", category.name), tag("div", *own, class_="charts")]
    lacking = [category.name for category in findings.categories
               if not category.cells and category.name not in findings.real_only]
    if lacking and findings.wants_images:
        parts.append(missing(f"Strength s and guidance w were not searched for {', '.join(lacking)}; the recipe's or "
                             "the paper's are used. For each class, this searches them:",
                             commands.of_category(findings, lacking[0], "tune")))
    return parts


def tune_figure(category: Category) -> list[Html]:
    """The heat map of one class, and whether its choice can be told from others."""
    if not category.cells:
        return []
    choice = category.choice
    chosen = (choice["s"], choice["w"]) if {"s", "w"} <= set(choice) else None
    said = choice_in_words(category, chosen)
    caption = ("Each cell has the distance from validation images (less is nearer) and its standard deviation; s is "
               "how much is redrawn, w how strongly the prompt is followed.")
    return [chart_figure(said, heat_map(category.cells, chosen, said), caption)]


def choice_in_words(category: Category, chosen: tuple[float, float] | None) -> str:
    """What was chosen, and how many others chance may have ranked behind it."""
    cells = {(cell.s, cell.w): cell for cell in category.cells}
    best = cells.get(chosen) if chosen else None
    if chosen is None or best is None:
        return "No choice is on record for these cells; a later training made it void."
    equal = [cell for cell in category.cells if cell.number == best.number]
    alike = sum(not told_apart(cell.distance, cell.sd, best.distance, best.sd) for cell in equal) - 1
    others, fewer = "all others", ""
    if given_up := len(cells) - len(equal):
        others = f"the {len(equal) - 1} with as many images"
        fewer = f" {given_up} were given up after fewer images, which make a distance larger."
    said = f"s = {chosen[0]:g} and w = {chosen[1]:g} were chosen (framed)."
    if alike:
        return f"{said} Of {others}, {alike} cannot be told from it by 95 % intervals.{fewer}"
    return f"{said} It can be told from {others} by 95 % intervals.{fewer}"


def curve_figure(curve: Curve) -> Html:
    """The held-out loss of one training with a sentence, or that of its batches where none was held out."""
    said = curve_in_words(curve)
    if len(curve.held_out) > 1:
        losses, caption = curve.held_out, "Loss of held-out images at fixed noise: less is better."
    else:
        losses, caption = thinned(curve.batches), "Loss of the training batches, mean of neighbours."
    least = LEAST_CHANGE_SHOWN * losses[0][1] if losses else 0.0
    chart = curve_chart(losses, least, "iteration", "loss (mean squared error of the noise)", said) if losses else ""
    return chart_figure(said, chart, caption)


def curve_in_words(curve: Curve) -> str:
    """What the held-out loss did."""
    stage = STAGE_WORDS[curve.stage]
    if len(curve.held_out) < 2:
        return f"{stage}: no held-out loss was measured twice, so nothing tells whether it learned or memorised."
    (first, before), (last, after) = curve.held_out[0], curve.held_out[-1]
    lowest, least = min(curve.held_out, key=lambda point: point[1])
    change = f"{100 * (after - before) / before:+.1f} %".replace("-", "−")
    said = f"{stage}: the held-out loss went from {before:.4f} to {after:.4f} ({change}) in {last - first:,} steps."
    if lowest < last and least < before and after - least > 0.1 * (before - least):
        said += f" It was lowest after {lowest:,}: longer training is no use."
    return said


def thinned(losses: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """Means of neighbours, so that there are not too many points."""
    step = -(-len(losses) // MOST_BATCHES) or 1
    blocks = [losses[k:k + step] for k in range(0, len(losses), step)]
    return [(block[-1][0], sum(loss for _, loss in block) / len(block)) for block in blocks]
