"""expand.py on drawn images: its stages, what it skips, what a failure stops, and what it writes at the end."""
import csv
import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from commands import here, torchrun
from PIL import Image

import expand
from stablesdg.app import expand_settings, expansion
from stablesdg.app.expand_settings import resolve
from stablesdg.app.expanded import export_expanded
from stablesdg.app.expansion import Clock, decide, run_program, run_stage
from stablesdg.app.journal import Journal, fingerprint, keep_warnings
from stablesdg.app.stages import Stage, list_stages
from stablesdg.data.images import save_image
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import write_json

SMALL = ("--weights", "toy", "--iterations", "2", "--number", "3", "--method", "image", "--hyperparameters", "paper",
         "--steps", "2", "--side", "64", "--seeds", "1", "--categories", "patches", "--device", "cpu")


def settings_of(data, **changed):
    values = dict(data=data, categories=None, good=None, weights="weights/nano", method="auto", hyperparameters="tune",
                  number=None, iterations=None, networks=("squeezenet",), steps=10, side=64, seeds=1, budget=None,
                  dry_run=False, seed=0, device="cpu", masks=None, boxes=None)
    return resolve(**{**values, **changed})


@pytest.fixture(scope="module")
def expanded(tmp_path_factory, toy, steel):
    """A folder in which expand.py has run for one of the three classes, and what it said."""
    place = tmp_path_factory.mktemp("expanded")
    shutil.copytree(steel, place / "steel")
    shutil.copytree(toy, place / "toy")
    return place, here(place, "expand.py", "--data", "steel", *SMALL)


def test_one_command_ends_with_adapters_images_classifiers_folders_and_a_report(expanded):
    place, said = expanded
    run = place / "runs" / "steel"
    frozen = json.loads((run / "plan" / "plan.json").read_text())["frozen"]
    for file in ("plan/plan.json", "patches/lora.safetensors", "patches/samples/manifest.csv", "patches/fid.json",
                 f"classify/{frozen}-none-1.json", f"classify/{frozen}-expand-1.json",
                 "classify/squeezenet-steps-1.json", "classify/squeezenet-expand-1.json",
                 "classify/squeezenet-imitation-1.json", "classify/filter.csv",
                 "expanded/origin.csv", "report.html"):
        assert (run / file).is_file(), file
    assert "$ python train_lora.py --rank 1 --data" in said and "report.html in a browser" in said
    assert not (run / "pits" / "samples").exists()


def test_the_same_command_again_skips_all_that_is_done(expanded):
    place, _ = expanded
    said = here(place, "expand.py", "--data", "steel", *SMALL)
    assert said.count("done before, skipped") == said.count("== ") > 10


def test_what_is_lost_is_made_again_with_the_same_bytes_and_nothing_else(expanded):
    place, _ = expanded
    lost = place / "runs" / "steel" / "patches" / "lora.safetensors"
    before = lost.read_bytes()
    lost.unlink()
    said = here(place, "expand.py", "--data", "steel", *SMALL)
    assert lost.read_bytes() == before
    assert [line for line in said.splitlines() if line.startswith("== ") and "skipped" not in line] == [
        line for line in said.splitlines() if line.startswith("== patches: LoRA")]


def test_a_stage_by_hand_gives_the_same_bytes(expanded):
    """Though expand.py keeps one model for all stages."""
    place, _ = expanded
    here(place, "train_ti.py", "--data", "steel/patches", "--weights", "toy", "--iterations", "2", "--out", "hand",
         "--no-preview", "--device", "cpu")
    here(place, "train_lora.py", "--rank", "1", "--data", "steel/patches", "--weights", "toy", "--iterations", "2",
         "--out", "hand", "--no-preview", "--device", "cpu")
    for name in ("embedding", "lora"):
        assert (place / "hand" / f"{name}.safetensors").read_bytes() == (
            place / "runs" / "steel" / "patches" / f"{name}.safetensors").read_bytes()


@pytest.fixture
def untouched(tmp_path, toy, steel):
    """A folder with data and weights, in which nothing has run."""
    shutil.copytree(steel, tmp_path / "steel")
    shutil.copytree(toy, tmp_path / "toy")
    return tmp_path


def test_what_two_processes_make_together_one_process_skips(untouched):
    said = torchrun(untouched, 2, [["expand.py", "--data", "steel", *SMALL]])
    assert said.count("$ python train_ti.py") == said.count("$ python -m stablesdg.plan") == 1
    run = untouched / "runs" / "steel"
    assert (run / "report.html").is_file() and len(list((run / "patches" / "samples").glob("*.png"))) == 3
    again = here(untouched, "expand.py", "--data", "steel", *SMALL)
    assert again.count("done before, skipped") == again.count("== ") > 10


def test_one_process_that_dies_in_a_stage_ends_all_and_the_same_command_goes_on(untouched):
    command = ["expand.py", "--data", "steel", *SMALL, "--iterations", "4"]
    error = torchrun(untouched, 2, [["die", 1], command], ok=False)
    run = untouched / "runs" / "steel" / "patches"
    assert "exitcode  : 9" in error and not (run / "embedding.safetensors").exists()
    said = here(untouched, *command)
    assert "resuming after 2 iterations" in said and said.count("done before, skipped") == 1  # the plan


def test_a_stage_that_fails_in_many_processes_ends_all_in_a_sentence(untouched):
    (untouched / "steel" / "patches" / "000.png").write_bytes(b"damaged")
    error = torchrun(untouched, 2, [["expand.py", "--data", "steel", *SMALL]], ok=False)
    assert "error: split and plan failed (" in error and "Mend that, and the same command goes on" in error


def test_more_processes_than_images_in_a_training_step_are_refused_before_the_plan(untouched, monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    error = here(untouched, "expand.py", "--data", "steel", *SMALL, ok=False)
    assert "start at most 4 by --nproc_per_node" in error and not (untouched / "runs" / "steel" / "plan").exists()


def test_the_expanded_data_set_names_the_origin_of_each_image(expanded, monkeypatch):
    place, _ = expanded
    monkeypatch.chdir(place)
    monkeypatch.delenv("STABLESDG_RUNS", raising=False)
    run = place / "runs" / "steel"
    with open(run / "expanded" / "origin.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    files = {f.relative_to(run / "expanded").as_posix() for f in (run / "expanded").rglob("*.png")}
    assert {row["file"] for row in rows} == files
    assert {row["part"] for row in rows if row["kind"] == "generated"} <= {"train"}
    assert sum(row["kind"] == "real" for row in rows) == 36
    verdicts = run / "classify" / "filter.csv"
    before = verdicts.read_text()
    head, *lines = before.splitlines()
    for verdict, count in (("copy", 36), ("not judged", 39), ("kept", 39)):  # what cannot be judged is trained with
        verdicts.write_text("\n".join([head, *(f"{line.rsplit(',', 1)[0]},{verdict}" for line in lines)]) + "\n")
        assert export_expanded(place / "steel", run, place / "again") == count
    verdicts.write_text(before)


def test_files_that_a_file_manager_writes_change_no_fingerprint(tmp_path):
    (tmp_path / "a.png").write_bytes(b"a")
    before = fingerprint([tmp_path])
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"x")
    assert fingerprint([tmp_path]) == before
    (tmp_path / "b.png").write_bytes(b"b")
    assert fingerprint([tmp_path]) != before


def test_images_made_from_what_is_a_test_image_now_are_not_exported(expanded, tmp_path, monkeypatch, capsys):
    place, _ = expanded
    monkeypatch.chdir(place)
    monkeypatch.delenv("STABLESDG_RUNS", raising=False)
    run, manifest = place / "runs" / "steel", place / "runs" / "steel" / "split.json"
    before = manifest.read_text()
    with open(run / "patches" / "samples" / "manifest.csv", newline="") as file:
        source = next(csv.DictReader(file))["source"]
    split = json.loads(before)
    split["files"][source]["part"] = "test"
    manifest.write_text(json.dumps(split))
    try:
        assert export_expanded(place / "steel", run, tmp_path / "out") == 36
    finally:
        manifest.write_text(before)
    assert "generated images of patches are not exported" in capsys.readouterr().out
    assert not list((tmp_path / "out").rglob("generated"))


def test_a_dry_run_lists_stages_with_minutes_and_writes_nothing(expanded, monkeypatch):
    place, _ = expanded
    before = fingerprint([place / "runs"])
    dry = ("expand.py", "--data", "steel", "--method", "image", "--dry-run", "--device", "cpu")
    assert "pits: choose s and w" not in here(place, *dry)  # its split has too few validation images for that
    assert fingerprint([place / "runs"]) == before
    monkeypatch.setenv("STABLESDG_RUNS", str(place / "elsewhere"))
    said = here(place, *dry)
    assert "pits: choose s and w: python tune.py" in said and "minutes in all, computed for a GPU" not in said
    assert not (place / "elsewhere").exists()


def test_a_failed_stage_ends_its_class_and_no_other(tmp_path, steel):
    notes, clock = Journal(tmp_path / "expand.json", None), Clock(settings_of(steel))

    def stage(category, name, *arguments):
        return Stage(name, category, "fid.py", arguments, (), ())

    missing = str(tmp_path / "missing")
    run_stage(stage("patches", "images", missing, missing), notes, clock)
    run_stage(stage("patches", "score", missing, missing), notes, clock)
    run_stage(stage("pits", "images", missing, missing), notes, clock)
    assert [(one["category"], one["stage"]) for one in notes.failed] == [("patches", "images"), ("pits", "images")]
    assert "missing" in notes.describe_failures()
    assert json.loads((tmp_path / "expand.json").read_text())["failed"] == notes.failed


def test_a_fault_of_the_program_ends_its_stage_and_shows_where_it_is(monkeypatch, capsys):
    def faulty(arguments):
        raise KeyError("ground")

    monkeypatch.setattr("runpy.run_path", lambda path: {"main": faulty})
    assert run_program(Stage("images", "Pa", "sample.py", (), (), ())) == "KeyError: 'ground'"
    assert "Traceback" in capsys.readouterr().err


def test_only_a_lack_of_memory_hides_where_a_program_failed(monkeypatch, capsys):
    for said, hidden in (("mat1 and mat2 shapes cannot be multiplied", False), ("CUDA out of memory. Tried", True)):
        def faulty(arguments, said=said):
            raise RuntimeError(said)

        monkeypatch.setattr("runpy.run_path", lambda path, faulty=faulty: {"main": faulty})
        why = run_program(Stage("images", "Pa", "sample.py", (), (), ()))
        assert said in why and ("not enough memory" in why) == hidden
        assert ("Traceback" not in capsys.readouterr().err) == hidden


def test_a_stage_that_is_stopped_says_that_the_same_command_goes_on(monkeypatch):
    def stopped(arguments):
        raise KeyboardInterrupt("saved after 3 iterations; the same command with --resume goes on")

    monkeypatch.setattr("runpy.run_path", lambda path: {"main": stopped})
    with pytest.raises(KeyboardInterrupt, match="Pa: LoRA is not finished; .* the same command goes on"):
        run_program(Stage("LoRA", "Pa", "train_lora.py", (), (), ()))


def test_no_stage_starts_when_the_budget_is_used_up(tmp_path, steel, capsys):
    clock = Clock(settings_of(steel, budget=0.0))
    assert not run_stage(Stage("score", "", "fid.py", (), (), ()), Journal(tmp_path / "e.json", None), clock)
    assert "the same command goes on" in capsys.readouterr().out


def test_the_plan_decides_where_the_method_is_left_open(tmp_path, steel, capsys):
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "plan.json").write_text('{"advice": {"verdict": "Do not generate", "why": "all is known"}}')
    assert not decide(settings_of(steel), tmp_path) and "all is known" in capsys.readouterr().out
    assert decide(settings_of(steel, method="image"), tmp_path)
    assert [s.name for s in list_stages(settings_of(steel), False)] == ["split and plan", "nano, none"]


def test_a_class_with_four_validation_images_gets_no_choice_of_s_and_w(tmp_path, steel, monkeypatch, capsys):
    monkeypatch.setenv("STABLESDG_RUNS", str(tmp_path))
    settings = settings_of(steel, method="image")
    parts = {"pits": ["train", *["val"] * 4], "patches": ["train", *["val"] * 5], "scratches": ["val"] * 6}
    files = {f"{name}/{k}.png": {"sha256": "", "group": name, "part": part}
             for name, own in parts.items() for k, part in enumerate(own)}
    before = [stage.label for stage in list_stages(settings, True)]
    write_json(tmp_path / "steel" / "split.json", {"method": "group", "seed": 0, "ratios": [8, 1, 1], "files": files})
    after = [stage.label for stage in list_stages(settings, True)]
    assert set(before) - set(after) == {"pits: choose s and w"}
    expansion.say_not_tuned(settings, tmp_path / "steel")
    assert "not chosen for pits: fewer than 5 validation images" in capsys.readouterr().out


@pytest.mark.parametrize("asked, untuned", [({}, False), ({"hyperparameters": "paper"}, True),
                                            ({"method": "compose"}, True)])
def test_an_earlier_choice_of_s_and_w_is_taken_only_where_it_is_asked_for(tmp_path, steel, monkeypatch, asked,
                                                                          untuned):
    monkeypatch.setenv("STABLESDG_RUNS", str(tmp_path))
    images = [stage.command for stage in list_stages(settings_of(steel, **asked), True) if stage.name == "images"]
    assert len(images) == 3 and all(("--untuned" in command) == untuned for command in images)


def test_a_choice_that_a_later_training_has_removed_is_made_again(tmp_path, steel, monkeypatch):
    monkeypatch.setenv("STABLESDG_RUNS", str(tmp_path))
    tune, *_ = (stage for stage in list_stages(settings_of(steel), True) if stage.program == "tune.py")
    assert tmp_path / "steel" / "patches" / "choice.json" in tune.writes


def test_a_change_of_one_class_leaves_the_stages_of_the_others(tmp_path, steel, monkeypatch):
    monkeypatch.setenv("STABLESDG_RUNS", str(tmp_path))
    read = []
    for n in (6, 7):
        files = {f"{name}/{k}.png": {"sha256": "", "group": name, "part": "train"}
                 for name, count in (("patches", 6), ("pits", n), ("scratches", 6)) for k in range(count)}
        write_json(tmp_path / "steel" / "split.json", {"method": "group", "seed": 0, "ratios": [8, 1, 1],
                                                       "files": files})
        read.append({stage.label: fingerprint(stage.reads, stage.split)
                     for stage in list_stages(settings_of(steel, categories=("patches", "pits")), True)})
    changed = {label for label in read[0] if read[0][label] != read[1][label]}
    assert "pits: LoRA" in changed and "squeezenet, expand" in changed
    assert not any(label.startswith("patches") for label in changed)


def test_good_surfaces_are_the_ground_and_get_no_images(steel):
    settings = settings_of(steel, good="pits")
    assert settings.composes and settings.generated == ("patches", "scratches")
    commands = [stage.command for stage in list_stages(settings, True)]
    assert any("--compose --ground" in command for command in commands)
    assert any("--real-only pits" in command for command in commands)
    with pytest.raises(UserError, match="has no class Fine"):
        settings_of(steel, good="Fine")


@pytest.mark.parametrize("network", ["nano", "imagenet"])
def test_the_classifier_on_frozen_features_is_the_one_that_plan_found_better(tmp_path, steel, monkeypatch, network):
    monkeypatch.setenv("STABLESDG_RUNS", str(tmp_path))
    write_json(tmp_path / "steel" / "plan" / "plan.json", {"frozen": network})
    stages = {stage.name: stage for stage in list_stages(settings_of(steel), True)}
    assert f"{network}, none" in stages and f"{network}, expand" in stages
    assert f"--imitate {network}" in stages["squeezenet, imitation"].command
    assert [s.name for s in list_stages(settings_of(steel), False)] == ["split and plan", f"{network}, none"]


def test_unequal_classes_are_drawn_equally_often(tmp_path, steel, monkeypatch):
    monkeypatch.setenv("STABLESDG_RUNS", str(tmp_path))
    for pits, balanced in ((6, False), (5, True)):
        files = {f"{name}/{k}.png": {"sha256": "", "group": name, "part": "train"}
                 for name, n in (("pits", pits), ("patches", 12), ("scratches", 9)) for k in range(n)}
        split = {"method": "group", "seed": 0, "ratios": [8, 1, 1], "files": files}
        write_json(tmp_path / "steel" / "split.json", split)
        for good, expected in ((None, balanced), ("pits", True)):  # a class without generated images falls behind
            stages = list_stages(settings_of(steel, good=good), True)
            trained = [stage for stage in stages if stage.program == "classify.py" and "--model" not in stage.command]
            assert len(trained) == 6 and all(("--balanced" in stage.command) == expected for stage in trained)


def test_given_masks_go_to_each_class_and_belong_to_composites(tmp_path, steel):
    for name in ("patches", "scratches"):
        (tmp_path / name).mkdir()
    settings = settings_of(steel, good="pits", masks=tmp_path)
    images = [stage for stage in list_stages(settings, True) if stage.name == "images"]
    assert [f"--masks {tmp_path / stage.category}" in stage.command for stage in images] == [True, True]
    assert all(tmp_path / stage.category in stage.reads for stage in images)
    for message, wrong in (("belong to composites", {"masks": tmp_path}),
                           ("has no folder pits", {"boxes": tmp_path, "method": "compose"}),
                           ("pass one of them", {"masks": tmp_path, "boxes": tmp_path, "good": "pits"})):
        with pytest.raises(UserError, match=message):
            settings_of(steel, **wrong)


def test_masks_that_mark_nothing_are_refused_before_anything_is_trained(expanded, tmp_path):
    place, _ = expanded
    for image in (place / "steel" / "patches").glob("*.png"):
        save_image(tmp_path / "masks" / "patches" / image.name, Image.new("L", (200, 200)))
    settings = settings_of(place / "steel", method="compose", categories=("patches",), masks=tmp_path / "masks")
    with pytest.raises(UserError, match="masks have no white pixel"):
        expansion.require_marked_sources(settings, place / "runs" / "steel")


def test_a_change_of_what_a_stage_reads_makes_it_run_again(tmp_path):
    notes = Journal(tmp_path / "expand.json", None)
    source, result = tmp_path / "a.txt", tmp_path / "b.txt"
    stage = Stage("score", "", "fid.py", ("x",), (source,), (result,))
    source.write_text("1")
    read = fingerprint(stage.reads)
    notes.begin(stage, read)
    assert notes.is_interrupted(stage, read) and not notes.is_done(stage, read)
    result.write_text("2")
    notes.end(stage, 1.0, [])
    again = Journal(tmp_path / "expand.json", None)
    assert again.is_done(stage, read)
    result.write_text("by hand")
    assert not again.is_done(stage, read) and not again.is_interrupted(stage, read)
    for _ in range(2):  # stopped before it has saved anything: what there is, is not its own
        again.begin(stage, read)
        assert not again.is_interrupted(stage, read)
    images = dataclasses.replace(stage, knows_its_own=True)  # it goes on with its own unfinished images alone
    assert again.is_interrupted(images, read)
    source.write_text("3")
    assert not again.begun(stage, fingerprint(stage.reads))


def test_other_weights_make_what_was_trained_on_them_anew(tmp_path, steel):
    (tmp_path / "weights" / "unet").mkdir(parents=True)
    file = tmp_path / "weights" / "unet" / "x.safetensors"
    stages = [one for one in list_stages(settings_of(steel, weights=str(tmp_path / "weights")), True)
              if one.program in ("train_ti.py", "train_lora.py", "tune.py", "sample.py")]
    read = []
    for content in ("1", "22"):
        file.write_text(content)
        read.append([fingerprint(one.reads) for one in stages])
    assert len(stages) >= 9 and all(a != b for a, b in zip(*read))


@pytest.mark.parametrize("option", [("--networks", "resnet50"), ("--networks", "nano"), ("--side", "300")])
def test_what_the_classifiers_cannot_do_is_refused_before_anything_is_made(steel, option):
    with pytest.raises(SystemExit):
        expand.parse(["--data", str(steel), *option])


def test_nothing_is_made_where_the_plan_fails(tmp_path, steel, monkeypatch):
    shutil.copytree(steel / "pits", tmp_path / "one" / "pits")
    monkeypatch.setenv("STABLESDG_RUNS", str(tmp_path / "runs"))
    with pytest.raises(UserError, match="split and plan"):
        expand.main(["--data", str(tmp_path / "one"), "--method", "image"])
    assert not (tmp_path / "runs" / "one" / "pits").exists()


def test_warnings_are_kept_and_shown(capsys):
    with keep_warnings() as warnings:
        print("warning: it is late\nall is well")
    assert warnings == ["it is late"] and capsys.readouterr().out == "warning: it is late\nall is well\n"


def test_small_priors_take_less_of_all(steel):
    small, large = settings_of(steel), settings_of(steel, weights="elsewhere")
    assert (small.number, small.iterations) == (expand_settings.SMALL_NUMBER, expand_settings.SMALL_ITERATIONS)
    assert (large.number, large.iterations) == (1000, 1000)
    assert Path(small.weights).name == "nano"


def test_the_results_of_a_random_split_are_watched_under_their_own_names(tmp_path, steel, monkeypatch):
    monkeypatch.setenv("STABLESDG_RUNS", str(tmp_path))
    files = {"pits/0.png": {"sha256": "", "group": "pits/0.png", "part": "train"}}
    for method, ending in (("group", "-1.json"), ("random", "-1-random.json")):
        write_json(tmp_path / "steel" / "split.json", {"method": method, "seed": 0, "ratios": [8, 1, 1],
                                                       "files": files})
        stages = [stage for stage in list_stages(settings_of(steel), True) if stage.program == "classify.py"]
        assert stages and all(stage.writes[0].name == f"{stage.name.replace(', ', '-')}{ending}" for stage in stages)


def test_what_was_typed_by_hand_is_made_again_in_the_way_of_expand(expanded):
    place, _ = expanded
    here(place, "train_ti.py", "--data", "steel/patches", "--weights", "toy", "--iterations", "3", "--no-preview",
         "--device", "cpu")
    said = here(place, "expand.py", "--data", "steel", *SMALL)
    assert "$ python train_ti.py" in said and "failed" not in said
    run = json.loads((place / "runs" / "steel" / "patches" / "run.json").read_text())
    assert run["stages"]["ti"]["arguments"]["iterations"] == 2
