"""The report as a file: its sections, what it says where something is missing, and that no name becomes a tag."""
import csv
import json
import re
import shlex
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import made_up
import pytest
from made_up import HOSTILE, MADE, make_run_folder, write_rows

import classify
from stablesdg.app.classify_settings import ClassifySettings
from stablesdg.recognise.verdicts import describe_all
from stablesdg.report import commands
from stablesdg.report.html import SECTIONS, write_report
from stablesdg.report.read import read_findings, read_predictions
from stablesdg.report.sections import CLASSES, SHAPES
from stablesdg.report.sections_origin import steps_of_data
from stablesdg.report.to_use import known, to_use
from stablesdg.report.verdict import Word, find_gain, judge, judge_classes, recalls_of, what_would_settle
from stablesdg.storage.errors import UserError

MOST_BYTES = 8 * 2**20


class Page(HTMLParser):
    """What a browser would find: tags with their attributes, and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.html, self.tags, self.words, self.open = text, [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.words)).replace(" ", " ")

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(folder, **options):
    file = write_report(folder, **options)
    text = file.read_text(encoding="utf-8")
    assert len(text.encode()) < MOST_BYTES
    page = Page(text)
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_run_folder(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def page(whole):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(whole.parent.parent)
        return page_of(whole)


def test_the_sections_stand_in_the_order_in_which_they_are_read(page):
    text = page.text
    places = [text.index(f"{k}. {title}") for k, title in enumerate(SECTIONS, start=1)]
    assert places == sorted(places) and len(places) == 10
    ids = [attributes["id"] for attributes in page.of("section")]
    assert ids == [f"section-{k}" for k in range(1, 11)]
    assert [attributes["href"] for attributes in page.of("a")] == [f"#{one}" for one in ids]


def test_the_page_holds_everything_and_asks_for_nothing(whole, page):
    text = (whole / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text.lower() and not re.search(r"https?:|@import|url\(", text)
    assert not page.of("link") and not page.of("iframe")
    sources = [attributes["src"] for attributes in page.of("img")]
    assert len(sources) > 30 and all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert all(attributes["alt"] and attributes["width"] and attributes["height"] for attributes in page.of("img"))


def test_no_path_of_this_machine_is_in_the_page(whole, page):
    assert "python -m stablesdg.split 'steel data'" in page.text
    assert str(whole.parent.parent) not in (whole / "report.html").read_text(encoding="utf-8")


def test_the_commands_of_expand_hold_no_path_of_this_machine(tmp_path, monkeypatch):
    folder = make_run_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    typed = shlex.join(["python", "train_ti.py", "--data", str(tmp_path / "steel data" / "pits"), "--weights", "nano"])
    (folder / "expand.json").write_text(json.dumps({"commands": [{"command": typed}, {"command": "it's"}]}))
    text = page_of(folder).text
    assert "python train_ti.py --data 'steel data/pits' --weights nano" in text and "it's" in text
    assert str(tmp_path) not in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("typed", [
    "--data steel", "--data steel --network nano --mode expand --generated runs/steel --seeds 2",
    "--data steel --control steps --generated runs/steel --real-only 'a b' c --filter --finish-real 0.2",
    "--data steel --mode expand --generated runs/steel --steps 9 --augment strong --average --side 96 --name x"])
def test_the_record_of_a_classifier_becomes_a_command_that_asks_for_the_same(typed):
    settings = ClassifySettings(**vars(classify.parse(shlex.split(typed))))
    script, *words = shlex.split(commands.as_run("classify", settings.as_arguments()))[1:]
    again = ClassifySettings(**vars(classify.parse(words)))
    assert script == "classify.py" and again.as_arguments() == settings.as_arguments()


def test_more_seeds_are_asked_for_with_the_settings_that_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(made_up, "SEEDS", 1)
    folder = make_run_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    for file in (folder / "classify").glob("squeezenet-*-1.json"):
        record = json.loads(file.read_text())
        record["arguments"] |= {"steps": 7, "side": 64, "name": file.stem.split("-")[1]}
        file.write_text(json.dumps(record))
    said = [line for line in page_of(folder).text.split("python ") if "--resume" in line]
    assert len(said) == 2 and all(f"--seeds 3 --network squeezenet --steps 7 --side 64 --name {arm} --resume" in line
                                  for arm, line in zip(("expand", "steps"), said))


@pytest.mark.parametrize("name", [HOSTILE, "Größe ß äöü 漢字", "two  words & more", "w" * 200, "it's \"so\""])
def test_any_name_of_a_class_is_text(tmp_path, name):
    page = page_of(make_run_folder(tmp_path, classes=("pits", name)))
    assert re.sub(r"\s+", " ", name) in page.text
    assert not any("onerror" in attributes or attributes.get("src") == "x" for _, attributes in page.tags)
    assert len(page.of("style")) == 1


def test_a_file_name_is_text(tmp_path):
    folder = make_run_folder(tmp_path)
    samples = folder / "pits" / "samples"
    (samples / "00000.png").rename(samples / f"{HOSTILE}.png")
    write_rows(samples / "manifest.csv", ("file", "source", "novelty"), [(f"{HOSTILE}.png", HOSTILE, "0.5")])
    page = page_of(folder)
    assert HOSTILE in page.text and not any(attributes.get("src") == "x" for attributes in page.of("img"))


@pytest.mark.parametrize("skip, said", [
    ("split", "python -m stablesdg.split"), ("plan", "python -m stablesdg.plan"), ("filter", "--filter"),
    ("overlaps", "pairs of images show one surface"), ("runs", "python train_ti.py"),
    ("results", "python classify.py --data")])
def test_what_is_missing_is_said_with_the_command_that_makes_it(tmp_path, skip, said):
    page = page_of(make_run_folder(tmp_path, skip=(skip,)))
    assert said in page.text and len(page.of("section")) == 10


def test_a_split_alone_makes_a_report(tmp_path):
    page = page_of(make_run_folder(tmp_path, skip=("overlaps", "plan", "runs", "results")))
    assert "cannot be told yet" in page.text and "No classifier has been trained" in page.text
    assert len(page.of("section")) == 10


def test_a_folder_that_is_no_run_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="not the run folder of a data set"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


# ---- what it says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skill, word", [
    ({"none": 0.6, "expand": 0.97, "steps": 0.7}, Word.USE),
    ({"none": 0.9, "expand": 0.4, "steps": 0.9}, Word.DO_NOT_USE),
    ({"none": 0.7, "expand": 0.72, "steps": 0.71}, Word.CANNOT_BE_TOLD),
    ({"none": 0.4, "expand": 0.97}, Word.CANNOT_BE_TOLD)])  # without the control of equal steps
def test_the_verdict_follows_from_the_interval_against_equal_steps(tmp_path, skill, word):
    findings = read_findings(make_run_folder(tmp_path, classes=("a", "b", "c", "d"), skill=skill))
    gain = find_gain(findings.results)
    assert gain.control.setup.arm == ("steps" if "steps" in skill else "none")
    verdict = judge(findings, gain)
    assert verdict.word is word
    if "steps" not in skill:
        assert "--control steps" in what_would_settle(gain)


def test_classifiers_that_are_no_better_than_guessing_prove_nothing(tmp_path):
    findings = read_findings(make_run_folder(tmp_path, classes=("a", "b", "c", "d"), skill={
        "none": 0.1, "expand": 0.3, "steps": 0.1}))
    verdict = judge(findings, find_gain(findings.results))
    assert verdict.word is Word.CANNOT_BE_TOLD and "and guessing names 25%" in verdict.why
    assert "--networks resnet" in verdict.settle


def test_classifiers_with_one_answer_for_all_images_prove_nothing(tmp_path):
    folder = make_run_folder(tmp_path)
    for file in (folder / "classify").glob("squeezenet-*-1.json"):
        record = json.loads(file.read_text())
        record["confusion"] = [[[sum(row), 0] for row in one] for one in record["confusion"]]
        file.write_text(json.dumps(record))
    findings = read_findings(folder)
    verdict = judge(findings, find_gain(findings.results))
    assert verdict.word is Word.CANNOT_BE_TOLD and "name 50% rightly, and guessing names 50%" in verdict.why
    assert "--balanced" in verdict.settle


@pytest.mark.parametrize("skill, chosen", [
    ({"none": 0.7, "expand": 0.97, "steps": 0.75}, "expand"),  # the verdict is "use"
    ({"none": 0.7, "expand": 0.72, "steps": 0.65}, "none"),  # chance explains the gain: real images alone
    ({"steps": 0.9, "expand": 0.4, "none": 0.7}, "steps")])
def test_the_classifier_to_use_is_the_one_that_knows_most_validation_images(tmp_path, monkeypatch, skill, chosen):
    folder = make_run_folder(tmp_path, classes=("a", "b", "c", "d"), skill=skill)
    choice = to_use(read_findings(folder))
    found = choice.result
    assert found.setup.arm == chosen and choice.among == (3 if chosen == "expand" else 2)
    monkeypatch.chdir(tmp_path)
    text = page_of(folder).text
    assert f"It recognises {100 * known(found):.1f} % of the validation images and" in text
    assert f"python classify.py --predict new-images --model 'runs/steel data/classify/{found.setup.stem}" in text


@pytest.mark.parametrize("better, chosen", [(0.0, "nano"), (0.01, "nano"), (0.2, "squeezenet")])
def test_another_classifier_takes_the_place_of_one_on_frozen_features_if_it_is_clearly_better(
        tmp_path, better, chosen):
    folder = make_run_folder(tmp_path) / "classify"
    record = json.loads((folder / "squeezenet-none-1.json").read_text(encoding="utf-8"))
    for row in record["rows"]:
        row["val_accuracy"] = 0.75
    (folder / "nano-none-1.json").write_text(json.dumps({**record, "network": "nano"}), encoding="utf-8")
    (folder / "nano-none-1.safetensors").touch()
    for arm in ("none", "steps"):
        record = json.loads((folder / f"squeezenet-{arm}-1.json").read_text(encoding="utf-8"))
        for row in record["rows"]:
            row["val_accuracy"] = 0.75 + better
        (folder / f"squeezenet-{arm}-1.json").write_text(json.dumps(record), encoding="utf-8")
    assert to_use(read_findings(folder.parent)).result.setup.network == chosen


def test_a_classifier_whose_file_is_gone_or_whose_test_images_were_others_is_not_the_one_to_use(tmp_path):
    folder = make_run_folder(tmp_path, skill={"none": 0.9, "steps": 0.5})
    split = json.loads((folder / "split.json").read_text(encoding="utf-8"))
    (folder / "classify" / "squeezenet-none-1.safetensors").unlink()
    assert to_use(read_findings(folder)).result.setup.arm == "steps"
    next(entry for entry in split["files"].values() if entry["part"] == "train")["part"] = "test"
    (folder / "split.json").write_text(json.dumps(split), encoding="utf-8")
    assert to_use(read_findings(folder)) is None


def test_a_network_that_imitates_is_no_control_of_one_that_learns_classes(tmp_path):
    folder = make_run_folder(tmp_path, classes=("a", "b", "c", "d"), skill={"none": 0.6, "expand": 0.8, "steps": 0.6})
    before = find_gain(read_findings(folder).results)
    record = json.loads((folder / "classify" / "squeezenet-none-1.json").read_text(encoding="utf-8"))
    record |= {"name": "imitation", "arguments": {**record["arguments"], "imitate": "nano"}}
    (folder / "classify" / "squeezenet-imitation-1.json").write_text(json.dumps(record), encoding="utf-8")
    results = read_findings(folder).results
    assert len(results) == 4 and find_gain(results) == before
    said = "\n".join(describe_all(results, folder))
    assert "imitation is compared with all comparable results" in said and "imitation against none" in said


def test_classifiers_on_frozen_features_of_all_images_need_one_seed(tmp_path):
    folder = make_run_folder(tmp_path, classes=("a", "b", "c", "d"), skill={"none": 0.6, "expand": 0.97})
    for file in (folder / "classify").glob("*.json"):
        record = json.loads(file.read_text(encoding="utf-8"))
        one = {**record, "network": "nano", "rows": [{**record["rows"][0], "steps": 1}],
               "correct": record["correct"][:1], "confusion": record["confusion"][:1]}
        file.unlink()
        (file.parent / file.name.replace("squeezenet", "nano")).write_text(json.dumps(one), encoding="utf-8")
    findings = read_findings(folder)
    gain = find_gain(findings.results)
    assert gain.comparison.seeds == 1 and judge(findings, gain).word is Word.USE


def test_results_that_cannot_be_compared_are_to_be_trained_anew(tmp_path, monkeypatch):
    folder = make_run_folder(tmp_path)
    for arm in ("none", "steps"):
        file = folder / "classify" / f"squeezenet-{arm}-1.json"
        record = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps({**record, "held_out_sha256": arm}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert page_of(folder).text.count("--seeds 3 --replace") == 3


def test_where_plan_advises_against_images_no_step_makes_any(tmp_path):
    folder = make_run_folder(tmp_path)
    for samples in folder.glob("*/samples"):
        shutil.rmtree(samples)
    assert "Adapt to pits and generate its images" in page_of(folder).text
    plan = json.loads((folder / "plan" / "plan.json").read_text()) if (folder / "plan").is_dir() else {}
    (folder / "plan").mkdir(exist_ok=True)
    (folder / "plan" / "plan.json").write_text(json.dumps({
        **plan, "advice": {"verdict": "Do not generate", "why": "w", "next": ["n"]}, "audit": {}}))
    text = page_of(folder).text
    assert "and generate its images" not in text and "No images are needed" in text


def test_the_leak_is_to_be_looked_at_until_plan_has_looked(tmp_path):
    folder = make_run_folder(tmp_path)
    for picture in folder.rglob("overlaps-*.png"):
        picture.unlink()
    findings = replace(read_findings(folder), overlaps=[], plan={})
    assert [why for why, _ in steps_of_data(findings)] == ["Look how far the split leaks."]
    assert steps_of_data(replace(findings, plan={"audit": {"pairs": []}})) == []


def test_tables_without_their_first_column_are_as_if_they_were_not_there(tmp_path):
    folder = make_run_folder(tmp_path)
    for name in ("samples/manifest.csv", "log-ti.csv"):
        file = next(folder.glob(f"*/{name}"))
        file.write_text(file.read_text().replace("file,", "name,").replace("iteration,", "step,"))
    page_of(folder)


def test_plan_may_say_that_generation_is_not_needed(tmp_path):
    folder = make_run_folder(tmp_path, skip=("runs", "results"))
    plan = json.loads((folder / "plan" / "plan.json").read_text(encoding="utf-8"))
    plan["advice"]["verdict"] = "Do not generate"
    (folder / "plan" / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    assert "Do not generate images" in page_of(folder).text


def test_each_class_has_a_light_a_shape_and_a_word(whole, page):
    findings = read_findings(whole)
    lights = judge_classes(findings.categories, find_gain(findings.results))
    assert set(lights) == {"pits", "scratches"}
    words = [attributes["class"] for name, attributes in page.tags
             if name == "span" and attributes.get("class", "").startswith("word ")]
    assert words == [f"word {CLASSES[one.word]}" for one in lights.values()]
    assert len(set(SHAPES.values())) == len(set(CLASSES.values())) == len(Word)
    assert all(SHAPES[one.word] in page.html and one.word.value in page.text for one in lights.values())


def test_recalls_are_those_of_the_seeds_that_both_arms_have(tmp_path):
    folder = make_run_folder(tmp_path)
    gain = find_gain(read_findings(folder).results)
    longer = replace(gain.result, seeds=[*gain.result.seeds, replace(gain.result.seeds[0], confusion=[[0, 9], [9, 0]])])
    assert recalls_of("pits", replace(gain, result=longer)) == recalls_of("pits", gain)


def test_a_class_may_be_called_as_a_column_is(tmp_path):
    write_rows(tmp_path / "predictions-x-on-test.csv", ("file", "true", "class", "true", "false"),
               [("true/0.png", "true", "true", 0.9, 0.1)])
    row, = read_predictions(tmp_path / "predictions-x-on-test.csv")
    assert row.true == "true" and row.probabilities == {"true": 0.9, "false": 0.1}


def test_results_of_another_test_part_are_left_out_and_named(tmp_path):
    folder = make_run_folder(tmp_path)
    assert find_gain(read_findings(folder).results)
    split = json.loads((folder / "split.json").read_text())
    moved = next(name for name, entry in split["files"].items() if entry["part"] == "test")
    split["files"][moved]["part"] = "train"
    (folder / "split.json").write_text(json.dumps(split), encoding="utf-8")
    findings = read_findings(folder)
    assert findings.results == [] and len(findings.outdated) == 3 and to_use(findings) is None
    assert "tested on other images than the split has now" in page_of(folder).text


def test_a_gain_is_none_of_an_arm_that_learned_in_another_way(tmp_path):
    folder = make_run_folder(tmp_path)
    file = folder / "classify" / "squeezenet-expand-1.json"
    record = json.loads(file.read_text())
    for options in ({"teacher": "nano"}, {"balanced": True}, {"mix": "both"}):
        file.write_text(json.dumps({**record, "arguments": {**record["arguments"], **options}}), encoding="utf-8")
        assert find_gain(read_findings(folder).results) is None


def test_verdicts_of_the_filter_on_earlier_images_of_the_same_names_do_not_count(tmp_path):
    folder = make_run_folder(tmp_path)
    rows = [("expand", 0, f"{folder}/pits/samples/{i:05d}.png", "0.0001", 0.0, "evidence gone") for i in range(MADE)]
    write_rows(folder / "classify" / "filter.csv", ("name", "seed", "file", "novelty", "evidence", "verdict"), rows)
    assert not any(one.is_filtered for one in read_findings(folder).categories)


def novelty(i):
    """That of image i in the manifest of `make_run_folder`."""
    return f"{0.08 + 0.09 * i:.4f}"


def test_a_class_whose_images_the_filter_rejects_is_not_used(tmp_path):
    folder = make_run_folder(tmp_path)
    rows = [("expand", 0, f"{folder}/pits/samples/{i:05d}.png", novelty(i), 0.0, "evidence gone") for i in range(MADE)]
    write_rows(folder / "classify" / "filter.csv", ("name", "seed", "file", "novelty", "evidence", "verdict"), rows)
    findings = read_findings(folder)
    lights = judge_classes(findings.categories, find_gain(findings.results))
    assert lights["pits"].word is Word.DO_NOT_USE and lights["scratches"].word is not Word.DO_NOT_USE
    assert f"{MADE} evidence gone" in page_of(folder).text


def test_the_commands_of_sample_py_can_be_typed_again():
    ranged = {"run": "runs/a/pits", "data": "a/pits", "strength": 0.3, "strength_high": 0.6, "other": None}
    assert commands.as_run("sample", ranged) == (
        "python sample.py --run runs/a/pits --data a/pits --strength 0.3 0.6")
    assert commands.as_run("sample", {**ranged, "strength_high": None, "other": "a/scratches"}) == (
        "python sample.py --run runs/a/pits --strength 0.3 --from a/scratches")


def test_an_image_that_one_arm_was_trained_with_counts_as_kept(tmp_path):
    folder = make_run_folder(tmp_path)
    rows = [(name, 0, f"{folder}/pits/samples/{i:05d}.png", novelty(i), 0.0, verdict) for i in range(MADE)
            for name, verdict in (("nano", "evidence gone"), ("expand", "kept"))]
    write_rows(folder / "classify" / "filter.csv", ("name", "seed", "file", "novelty", "evidence", "verdict"), rows)
    assert {one.name: len(one.rejected) for one in read_findings(folder).categories}["pits"] == 0


def test_a_class_that_the_probe_does_not_know_is_said_not_to_be_judged(tmp_path):
    folder = make_run_folder(tmp_path)
    rows = [("expand", 0, f"{folder}/{name}/samples/{i:05d}.png", novelty(i), 0.5, verdict) for i in range(MADE)
            for name, verdict in (("pits", "not judged"), ("scratches", "kept"))]
    write_rows(folder / "classify" / "filter.csv", ("name", "seed", "file", "novelty", "evidence", "verdict"), rows)
    text = page_of(folder).text
    assert f"recognises the class of {MADE} of {MADE} images (100 %)" in text
    assert "less than half of the real images of pits when it has not seen their surface" in text
    assert {one.name: len(one.rejected) for one in read_findings(folder).categories} == {"pits": 0, "scratches": 0}


def test_a_good_class_needs_no_generated_images(tmp_path, monkeypatch):
    folder = make_run_folder(tmp_path, classes=("good", "pits"))
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(folder / "good")
    assert "No image was generated of good" in page_of(folder).text
    (folder / "expand.json").write_text(json.dumps({"good": "good"}), encoding="utf-8")
    text = page_of(folder).text
    assert not any(said in text for said in ("generated of good", "Adapt to good", "searched for good"))
    findings = read_findings(folder)
    lights = judge_classes(findings.categories, find_gain(findings.results), findings.real_only)
    assert lights["good"].why != "no image was generated yet"
    assert "--real-only good --epochs 8 --seeds" in commands.classify(findings, "expand")  # as the others


def test_missed_defects_and_false_alarms_are_counted_where_a_class_is_good(tmp_path):
    folder = make_run_folder(tmp_path, classes=("good", "pits"))
    rows = [("new/1.png", "good", "good", 0.8, 0.2), ("new/2.png", "good", "good", 0.4, 0.6),
            ("new/3.png", "pits", "pits", 0.2, 0.8), ("new/4.png", "pits", "good", 0.95, 0.05),
            ("good/000.png", "good", "good", 0.1, 0.9)]  # of the training part: does not count
    for file in (folder / "classify").glob("predictions*"):
        file.unlink()
    write_rows(folder / "classify" / "predictions-x.csv", ("file", "true", "class", "good", "pits"), rows)
    (folder / "expand.json").write_text(json.dumps({"good": "good", "commands": [
        {"command": "python train_ti.py", "category": "pits", "stage": "ti", "warnings": ["it warned"]}]}))
    text = page_of(folder).text
    assert "0.5 1 of 2 (50.0 %) 1 of 2 (50.0 %)" in re.sub(r"(0\.5)", r"\1 ", text).replace("(50.0 %)1", "(50.0 %) 1")
    assert "pits ti: it warned" in text


def test_the_commands_that_were_run_are_there_with_their_seeds(page):
    assert "python train_ti.py --data" in page.text and "--iterations 60 --seed 0" in page.text


def test_images_that_are_nearly_their_sources_are_called_so(whole, tmp_path, page):
    assert "nearly their sources" not in page.text
    shutil.copytree(whole, tmp_path / "runs" / "set")
    manifest = next((tmp_path / "runs" / "set").glob("*/samples/manifest.csv"))
    with open(manifest, newline="") as stream:
        rows = list(csv.DictReader(stream))
    write_rows(manifest, tuple(rows[0]), [({**row, "ssim": "0.9"}).values() for row in rows])
    said = f"The images of {manifest.parent.parent.name} are nearly their sources, with other grain"
    assert said in page_of(tmp_path / "runs" / "set").text


def test_overlapping_pairs_of_the_first_class_are_open_and_the_others_folded(page):
    assert [one.get("open") for one in page.of("details")] == [""] + [None] * (len(page.of("details")) - 1)
