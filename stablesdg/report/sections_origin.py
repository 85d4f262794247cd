"""The last sections of the report: what to type next, and where everything came from."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import stablesdg

from ..recognise.significance import MIN_SEEDS
from ..storage.files import sha256
from . import commands
from .markup import Html, bullets, command, count, table, tag
from .read import Category, Findings
from .to_use import name_of, to_use
from .verdict import Word, find_gain, judge

HASH_SHOWN = 12  # hexadecimal digits of a SHA-256
SCRIPTS = {"ti": "train_ti", "lora": "train_lora", "full": "train_lora", "sample": "sample"}


# ---- 9: next steps ----------------------------------------------------------------------------------------------


def next_section(findings: Findings) -> list[Html]:
    """Commands in the order in which to type them, each with its reason."""
    steps = [*steps_of_data(findings), *steps_of_categories(findings), *steps_of_results(findings)]
    steps.append(("Make this report anew.", commands.report(findings)))
    return [tag("ol", *(tag("li", tag("span", why), command(line)) for why, line in steps), class_="steps")]


def steps_of_data(findings: Findings) -> list[tuple[str, str]]:
    """The split and its pictures."""
    if not findings.split:
        return [("Split the data, so that no test image shows a surface of the training part.",
                 commands.split(findings))]
    if not findings.overlaps and not findings.plan.get("audit"):
        return [("Look how far the split leaks.", commands.split(findings, " --check"))]
    return []


def steps_of_categories(findings: Findings) -> list[tuple[str, str]]:
    """The stages that classes lack."""
    steps = []
    for category in findings.categories:
        if category.name in findings.real_only:
            continue
        stages = category.run.get("stages", {})
        lacking = [script for stage, script in (("ti", "train_ti"), ("lora", "train_lora"))
                   if stage not in stages and "full" not in stages]
        lacking += [] if category.generated else ["sample"]
        if lacking and findings.wants_images:
            lines = "\n".join(commands.of_category(findings, category.name, script) for script in lacking)
            steps.append((f"Adapt to {category.name} and generate its images.", lines))
    return steps


def steps_of_results(findings: Findings) -> list[tuple[str, str]]:
    """The use of the best classifier; and those that the verdict lacks, or what follows from the verdict."""
    steps = []
    if chosen := to_use(findings):
        model = commands.quoted(findings.folder / "classify" / f"{chosen.result.setup.stem}.safetensors")
        steps.append((f"Use the classifier on new images: {name_of(chosen.result)}.",
                      f"python classify.py --predict new-images --model {model}"))
    if any(category.generated for category in findings.categories):
        steps += steps_of_verdict(findings)
    return steps


def steps_of_verdict(findings: Findings) -> list[tuple[str, str]]:
    """The classifiers, seeds or test images that the verdict lacks."""
    gain = find_gain(findings.results)
    arms = {result.setup.arm for result in findings.results}
    if gain is None or not gain.is_fair:
        lacking = [arm for arm in commands.DECIDING_ARMS if arm not in arms]
        if lacking:
            return [("Train the classifiers that decide.",
                     "\n".join(commands.classify(findings, arm) for arm in lacking))]
        return [("Train the classifiers that decide anew: those that there are cannot be compared, as section 7 says.",
                 "\n".join(commands.classify(findings, arm, " --replace") for arm in commands.DECIDING_ARMS))]
    if not gain.has_enough_seeds:
        lines = [f"{commands.as_run('classify', {**one.setup.arguments, 'seeds': MIN_SEEDS})} --resume"
                 f"{commands.runs_of(findings)}" for one in (gain.result, gain.control)]
        return [(f"Train more seeds: fewer than {MIN_SEEDS} cannot tell.", "\n".join(lines))]
    if judge(findings, gain).word is not Word.CANNOT_BE_TOLD:
        return []
    again = [f"{commands.as_run('classify', one.setup.arguments)} --replace{commands.runs_of(findings)}"
             for one in (gain.control, gain.result)]
    return [("Put images of new surfaces into the class folders, take them into the test part, and test again.",
             "\n".join([commands.split(findings, " --add --to test"), *again]))]


# ---- 10: origin -------------------------------------------------------------------------------------------------


def origin_section(findings: Findings) -> list[Html]:
    """Versions, hashes, split, seeds, times, device, exact commands, and all warnings."""
    lines = [f"stablesdg {stablesdg.__version__}"]
    if findings.split:
        manifest = findings.folder / "split.json"
        lines.append(f"split: {findings.split.get('method')}, seed {findings.split.get('seed')}, "
                     f"{count(len(findings.split.get('files', {})), 'image')}, SHA-256 of split.json "
                     f"{sha256(manifest)[:HASH_SHOWN]}")
    lines += weights_in_words(findings.categories) + versions_in_words(findings.categories)
    parts = [bullets(lines), stages_table(findings.categories), results_table(findings)]
    typed = typed_commands(findings)
    parts += [tag("h3", "Exact commands"), command("\n".join(typed)) if typed else tag("p", "None are on record.")]
    warned = warnings(findings)
    parts += [tag("h3", "Warnings"), bullets(warned) if warned else tag("p", "None are on record.")]
    if not findings.expansion:
        parts.append(tag("p", "What the scripts printed is not on record: there is no expand.json.", class_="soft"))
    return parts


def weights_in_words(categories: Sequence[Category]) -> list[str]:
    """Which weights the adapters belong to."""
    known = {(Path(c.run["weights"]).name, c.run.get("weights_sha256", "")) for c in categories if c.run.get("weights")}
    return [f"weights: {name}, SHA-256 {digest[:HASH_SHOWN]}" for name, digest in sorted(known)]


def versions_in_words(categories: Sequence[Category]) -> list[str]:
    """What the stages ran with; more than one line where that changed between stages."""
    known = {", ".join(f"{name} {number}" for name, number in entry.get("versions", {}).items())
             for category in categories for entry in category.run.get("stages", {}).values()}
    return sorted(known - {""})


def stages_table(categories: Sequence[Category]) -> Html:
    """A row for each stage of each class."""
    rows = []
    for category in categories:
        for stage, entry in category.run.get("stages", {}).items():
            arguments: Mapping[str, Any] = entry.get("arguments", {})
            amount = arguments.get("iterations") or arguments.get("number") or "–"
            rows.append([f"{category.name}, {stage}", entry.get("finished", "–"), f"{entry.get('seconds', 0) / 60:.1f}",
                         amount, arguments.get("seed", "–"),
                         f"{arguments.get('device', '–')}, {arguments.get('dtype', '–')}"])
    return table("Stages", ("class and stage", "finished", "minutes", "iterations or images", "seed", "device, dtype"),
                 rows)


def results_table(findings: Findings) -> Html:
    """A row for each arm of recognition."""
    rows = [[one.setup.stem, f"{one.setup.device or '–'}, {one.setup.dtype or '–'}", len(one.seeds),
             one.setup.arguments.get("epochs", "–"), one.setup.images_sha256[:HASH_SHOWN],
             one.setup.held_out_sha256[:HASH_SHOWN]] for one in findings.results]
    return table("Classifiers", ("arm", "device, dtype", "seeds", "epochs", "SHA-256 of the training images",
                                 "of validation and test images"), rows)


def typed_commands(findings: Findings) -> list[str]:
    """The commands that were run, every argument written out."""
    if noted := findings.expansion.get("commands"):
        return [commands.as_typed(entry["command"]) for entry in noted if entry.get("command")]
    typed = [(SCRIPTS[stage], entry.get("arguments", {})) for category in findings.categories
             for stage, entry in category.run.get("stages", {}).items() if stage in SCRIPTS]
    typed += [("classify", one.setup.arguments) for one in findings.results]
    return [commands.as_run(script, arguments) + commands.runs_of(findings) for script, arguments in typed]


def warnings(findings: Findings) -> list[str]:
    """What the records say against the results: the split, failed stages, and what the scripts warned of."""
    found = []
    if findings.split.get("method") == "random":
        found.append("The split is random: test images may show surfaces of the training part.")
    for entry in findings.expansion.get("failed", ()):
        found.append(f"{entry.get('category') or 'all classes'}: {entry.get('stage', 'a stage')} failed: "
                     f"{entry.get('why', '')}")
    for entry in findings.expansion.get("commands", ()):
        where = " ".join(part for part in (entry.get("category"), entry.get("stage")) if part)
        found += [f"{where}: {text}" for text in entry.get("warnings", ())]
    weights = {category.run["weights_sha256"] for category in findings.categories if category.run.get("weights_sha256")}
    if len(weights) > 1:
        found.append("The classes were adapted from different weights: a classifier can learn that instead of the "
                     "defects.")
    return found
