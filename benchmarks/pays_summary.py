"""The tables of pays.py: means over draws, differences that are paired by draw and seed, and image equivalents."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean

import numpy as np
from numpy.typing import NDArray
from pays_draws import Regime
from scipy import stats

from stablesdg.recognise.frozen import FROZEN
from stablesdg.recognise.per_class import recalls
from stablesdg.recognise.results import Result, read_results
from stablesdg.recognise.significance import MIN_SEEDS, SMALLEST_P_SHOWN, Comparison, compare, holm
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import read_csv, write_csv

REAL = "real"
FROM_FEATURES = ("teacher-on-", "imitation-on-", "frozen-")  # how the names of arms begin that use frozen features
MORE_PAIRS = (("welded", "pasted"), ("teacher-on-welded", "teacher-on-pasted"), ("frozen-redrawn", "frozen-classic"),
              ("frozen-pasted", "frozen-classic"), ("imitation-on-real", "frozen-real"),
              ("imitation-of-imagenet", "frozen-imagenet"), ("paper-redrawn", "paper-real"))

Draws = Mapping[int, Result]  # draw -> the result of an arm, with its seeds


@dataclass(frozen=True)
class Figure:
    """One measure of one arm."""
    mean: float  # of the draws' means
    error: float  # its standard error, by how the draws differ, or with a single draw by how its seeds do
    seed_sd: float  # deviation of the seeds of one draw; nan with one seed


@dataclass(frozen=True)
class Difference:
    """One arm less another one, both with the same draws and seeds."""
    arm: str
    against: str
    accuracy: Comparison  # its `seeds` are draws, or the seeds of a single draw
    f1: float  # difference of macro-F1
    f1_low: float  # 95 % interval over draws; nan where there is one
    f1_high: float


# ---- figures ----------------------------------------------------------------------------------------------------


def figure(values: Sequence[Sequence[float]]) -> Figure:
    """The figure of values[draw][seed]."""
    means = [mean(own) for own in values]
    variances = [np.var(own, ddof=1) for own in values if len(own) > 1]
    seed_sd = float(np.sqrt(np.mean(variances))) if variances else float("nan")
    if len(means) > 1:
        error = float(np.std(means, ddof=1) / np.sqrt(len(means)))
    else:
        error = float(seed_sd / np.sqrt(len(values[0])))
    return Figure(mean(means), error, seed_sd)


def accuracies(draws: Draws) -> list[list[float]]:
    """[draw][seed]."""
    return [[one.test_accuracy for one in result.seeds] for _, result in sorted(draws.items())]


def macro_f1s(draws: Draws) -> list[list[float]]:
    """[draw][seed]."""
    return [[one.macro_f1 for one in result.seeds] for _, result in sorted(draws.items())]


def class_recalls(draws: Draws) -> NDArray:
    """(classes,), mean over draws of the mean over seeds."""
    return np.mean([np.mean([recalls(one.confusion) for one in result.seeds], axis=0) for result in draws.values()],
                   axis=0)


def difference(arm: str, a: Draws, against: str, b: Draws) -> Difference | None:
    """Compare two arms on the draws and seeds that both have. None where there is none.

    A row of the paired tables is a draw, with the mean of its seeds: trainings on the same images are not independent.
    With a single draw the rows are its seeds. Then nothing is known of other draws.
    """
    shared = sorted({*a} & {*b})
    if not shared:
        return None
    tables: list[list[NDArray]] = [[], []]
    f1s: list[list[float]] = [[], []]
    for draw in shared:
        if a[draw].setup.test_files != b[draw].setup.test_files:
            raise UserError(f"{arm} and {against} of draw {draw} were tested on other images: take another --out.")
        n = min(len(a[draw].seeds), len(b[draw].seeds))
        for table, scores, own in zip(tables, f1s, (a, b)):
            correct = np.asarray(own[draw].correct[:n], dtype=float)  # (seeds, test images)
            f1 = [one.macro_f1 for one in own[draw].seeds[:n]]
            table += [correct.mean(axis=0)] if len(shared) > 1 else list(correct)
            scores += [mean(f1)] if len(shared) > 1 else f1
    gaps = np.subtract(f1s[0], f1s[1])
    half = np.nan
    if len(gaps) > 1:
        half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps))
    found = compare(np.stack(tables[0]), np.stack(tables[1]), a[shared[0]].setup.test_groups)
    return Difference(arm, against, found, float(gaps.mean()), float(gaps.mean() - half), float(gaps.mean() + half))


def find_differences(arms: Mapping[str, Draws]) -> list[Difference]:
    """Each arm against real, each that uses features against the same on real images, and MORE_PAIRS."""
    on_real = [(name, start + REAL) for start in FROM_FEATURES for name in arms
               if name.startswith(start) and name != start + REAL]
    pairs = [*((name, REAL) for name in arms if name != REAL), *on_real, *MORE_PAIRS]
    found = [difference(a, arms[a], b, arms[b]) for a, b in pairs if a in arms and b in arms]
    return [one for one in found if one]


# ---- tables -----------------------------------------------------------------------------------------------------


def summarise(out: Path, regimes: Sequence[Regime], training: str, network: str, arms: Sequence[str]) -> list[str]:
    """The lines of summary.txt. Writes results.csv."""
    found = {regime: find_arms(out, regime, training, network, arms) for regime in regimes}
    write_results(out / "results.csv", found)
    curve = {regime.images: figure(accuracies(own[REAL])).mean for regime, own in found.items()
             if regime.images and REAL in own}
    lines = [f"{network}, {training}"]
    for regime, own in found.items():
        if own:
            lines += ["", f"## {regime.name}", "", *arm_lines(own, curve if regime.images else {}), "",
                      *difference_lines(find_differences(own)), "", *recall_lines(own)]
    return [*lines, "", *seconds_lines(out)]


def find_arms(out: Path, regime: Regime, training: str, network: str, arms: Sequence[str]) -> dict[str, Draws]:
    """{arm: {draw: result}} of a regime, in the order of `arms`."""
    found: dict[str, dict[int, Result]] = {}
    for folder in sorted((out / "results").glob(f"{regime.name}-draw-*")):
        for result in read_results(folder / training):
            if result.setup.network in (network, *FROZEN) and result.seeds:
                found.setdefault(result.name, {})[int(folder.name.rpartition("-")[2])] = result
    return {arm: dict(sorted(found[arm].items())) for arm in arms if arm in found}


def write_results(file: Path, found: Mapping[Regime, Mapping[str, Draws]]) -> None:
    """results.csv: a line for each training."""
    all_results = [result for arms in found.values() for draws in arms.values() for result in draws.values()]
    classes = all_results[0].setup.classes if all_results else []
    rows = [[regime.name, draw, one.seed, arm, result.setup.network, one.steps, one.n_real, one.n_generated,
             f"{one.val_accuracy:.6f}", f"{one.test_accuracy:.6f}", f"{one.macro_f1:.6f}",
             *(f"{share:.6f}" for share in recalls(one.confusion))]
            for regime, arms in found.items() for arm, draws in arms.items() for draw, result in draws.items()
            for one in result.seeds]
    write_csv(file, ("regime", "draw", "seed", "arm", "network", "steps", "real images", "generated images",
                     "validation accuracy", "accuracy", "macro-F1", *(f"recall {name}" for name in classes)), rows)


def arm_lines(arms: Mapping[str, Draws], curve: Mapping[int, float]) -> list[str]:
    """The table of arms. The curve of the real arm at two ks or more gives image equivalents."""
    lines = ["| arm | draws | trainings | accuracy | error | sd of seeds | macro-F1 | error | as real images a class |",
             "|---|---|---|---|---|---|---|---|---|"]
    for arm, draws in arms.items():
        accuracy, f1 = figure(accuracies(draws)), figure(macro_f1s(draws))
        lines.append(f"| {arm} | {len(draws)} | {sum(len(one.seeds) for one in draws.values())} | "
                     f"{100 * accuracy.mean:.1f} | {percent(accuracy.error)} | {percent(accuracy.seed_sd)} | "
                     f"{100 * f1.mean:.1f} | {percent(f1.error)} | {equivalents(curve, accuracy.mean)} |")
    return lines


def equivalents(curve: Mapping[int, float], accuracy: float) -> str:
    """How many real images a class are as good, in words."""
    if len(curve) < 2:
        return ""
    n = image_equivalents(curve, accuracy)
    return f"over {max(curve)}" if n == float("inf") else f"{n:.0f} or fewer" if n == min(curve) else f"{n:.0f}"


def difference_lines(differences: Sequence[Difference]) -> list[str]:
    """The table of differences, one Holm family, and what limits it."""
    if not differences:
        return []
    lines = ["| arm | against | accuracy | 95 % interval | adjusted p | macro-F1 | 95 % interval |",
             "|---|---|---|---|---|---|---|"]
    for one, p in zip(differences, holm([one.accuracy.p for one in differences])):
        c = one.accuracy
        said = "too few" if c.seeds < MIN_SEEDS else f"{p:.3f}" if p >= SMALLEST_P_SHOWN else "< 0.001"
        lines.append(f"| {one.arm} | {one.against} | {100 * c.difference:+.1f} | {100 * c.low:+.1f} to "
                     f"{100 * c.high:+.1f} | {said} | {100 * one.f1:+.1f} | " +
                     ("" if np.isnan(one.f1_low) else f"{100 * one.f1_low:+.1f} to {100 * one.f1_high:+.1f}") + " |")
    lines += ["", "Points of 100. Paired by draw and seed. Holm's method takes in all rows of this table."]
    if min(one.accuracy.seeds for one in differences) < MIN_SEEDS:
        lines.append(f"Rows with fewer than {MIN_SEEDS} draws, or seeds of a single draw, have intervals that may be "
                     "too narrow. They have no verdict.")
    return lines


def recall_lines(arms: Mapping[str, Draws]) -> list[str]:
    """The table of recalls."""
    classes = next(iter(next(iter(arms.values())).values())).setup.classes
    lines = [f"| recall | {' | '.join(classes)} |", "|---" * (len(classes) + 1) + "|"]
    return lines + [f"| {arm} | " + " | ".join(f"{100 * share:.1f}" for share in class_recalls(draws)) + " |"
                    for arm, draws in arms.items()]


def percent(share: float) -> str:
    """Points of 100, or nothing for nan."""
    return "" if np.isnan(share) else f"{100 * share:.1f}"


# ---- steps ------------------------------------------------------------------------------------------------------


def curve_lines(out: Path, regimes: Sequence[Regime], training: str, network: str, arms: Sequence[str]) -> list[str]:
    """What --curve shows: validation accuracy by the number of steps. Test images have no part.

    training  pattern of the names of the folders to read
    """
    lines = ["| regime | arm | steps | draws | trainings | validation accuracy | error | sd of seeds |",
             "|---|---|---|---|---|---|---|---|"]
    for regime, arm in product(regimes, arms):
        by_steps: dict[int, list[list[float]]] = {}
        for file in sorted((out / "results").glob(f"{regime.name}-draw-*/{training}/{network}-{arm}-1.json")):
            for result in read_results(file.parent, file.name):
                values = by_steps.setdefault(round(result.mean_steps), [])
                values.append([one.val_accuracy for one in result.seeds])
        for steps, values in sorted(by_steps.items()):
            own = figure(values)
            lines.append(f"| {regime.name} | {arm} | {steps} | {len(values)} | {sum(map(len, values))} | "
                         f"{100 * own.mean:.1f} | {percent(own.error)} | {percent(own.seed_sd)} |")
    return lines


# ---- seconds ----------------------------------------------------------------------------------------------------


def read_seconds(out: Path) -> list[tuple[str, str, int, float]]:
    """(draw, kind, times, seconds) of each command that was run."""
    file = out / "seconds.csv"
    rows = read_csv(file) if file.is_file() else []
    return [(row["draw"], row["kind"], int(row["times"]), float(row["seconds"])) for row in rows]


def seconds_lines(out: Path) -> list[str]:
    """The table of seconds: of each command, or of each training of a classifier."""
    rows = read_seconds(out)
    lines = ["| command | times | seconds each |", "|---|---|---|"] if rows else []
    for kind in dict.fromkeys(row[1] for row in rows):
        times = sum(row[2] for row in rows if row[1] == kind)
        seconds = sum(row[3] for row in rows if row[1] == kind)
        lines.append(f"| {kind} | {times} | {seconds / times:.1f} |")
    return lines


def image_equivalents(curve: Mapping[int, float], wanted: float) -> float:
    """How many real images a class give that score, by straight lines over the logarithm of the number.

    curve  {images a class: score, the larger the better}

    A dip of the curve is filled: with more images, a score counts as at least that of fewer. The least number that
    reaches the score is taken. A score below the first point gives the first number, which is then too many. A score
    above all points gives infinity: more images than were measured.
    """
    numbers = np.array(sorted(curve), dtype=float)
    scores = np.maximum.accumulate([curve[int(n)] for n in numbers])
    if wanted > scores[-1]:
        return float("inf")
    k = int(np.searchsorted(scores, wanted))
    if k == 0:
        return float(numbers[0])
    share = (wanted - scores[k - 1]) / (scores[k] - scores[k - 1])
    return float(np.exp(np.interp(share, [0, 1], np.log(numbers[k - 1:k + 1]))))
