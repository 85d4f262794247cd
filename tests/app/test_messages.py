"""What the scripts say, and where they put what they make."""
import json
import shutil

import pytest
import torch
from commands import TRAINING, call, here
from conftest import ROOT

from stablesdg import train
from stablesdg.app import devices, model, sampling


def test_a_bare_name_goes_into_the_run_folder_and_a_path_with_a_slash_stays_as_it_is(place):
    settings = ["sample.py", "--run", "runs/steel/patches", "--number", "1", "--steps", "2", "--guidance", "2",
                "--strength", "0.4"]
    run = place / "runs" / "steel" / "patches"
    out = here(place, *settings, "--out", "named")
    assert out.splitlines()[0] == f"sample.py: runs/steel/patches -> {run / 'named'}"
    assert (run / "named" / "manifest.csv").is_file() and (run / "preview-named.png").is_file()
    here(place, *settings, "--out", "elsewhere/slash")
    assert (place / "elsewhere" / "slash" / "manifest.csv").is_file() and (run / "preview-slash.png").is_file()
    for name in ("preview-named.png", "novelty-named.png", "preview-slash.png", "novelty-slash.png"):
        (run / name).unlink()
    shutil.rmtree(run / "named")


def test_runs_are_found_from_another_folder_by_option_and_by_environment(place, tmp_path, monkeypatch):
    settings = ["--number", "1", "--steps", "2", "--guidance", "2", "--strength", "0.4", "--out", f"{tmp_path}/made"]
    monkeypatch.setenv("STABLESDG_RUNS", str(tmp_path / "nowhere"))
    assert f"no run in {tmp_path / 'nowhere'} yet" in here(tmp_path, "sample.py", *settings, ok=False)
    out = here(tmp_path, "sample.py", "--runs", place / "runs", *settings)  # an option is stronger
    assert out.splitlines()[0].endswith(f"-> {tmp_path / 'made'}") and "wrote 1 images" in out
    monkeypatch.setenv("STABLESDG_RUNS", str(tmp_path / "others"))
    out = here(place, "train_ti.py", "--data", "steel/pits", "--weights", "toy", *TRAINING, "--no-preview")
    assert out.splitlines()[0] == f"train_ti.py: steel/pits -> {tmp_path / 'others' / 'steel' / 'pits'}"
    assert (tmp_path / "others" / "steel" / "pits" / "run.json").is_file()
    assert (tmp_path / "others" / "steel" / "split.json").is_file()
    (place / "runs" / "steel" / "patches" / "preview-made.png").unlink()
    (place / "runs" / "steel" / "patches" / "novelty-made.png").unlink()


@pytest.mark.parametrize("script", ["train_ti.py", "sample.py"])
def test_the_first_line_is_printed_before_torch_is_imported(place, script):
    arguments = {"train_ti.py": ["--data", "steel/patches"], "sample.py": ["--run", "runs/steel/patches"]}[script]
    code = ("import runpy, sys\n"
            f"sys.argv = {[script, *arguments]!r}\n"
            "class Stop:\n"
            "    def find_spec(self, name, *rest):\n"
            "        if name == 'torch': raise SystemExit('torch is asked for')\n"
            "sys.meta_path.insert(0, Stop())\n"
            "print('start', flush=True)\n"
            "try: runpy.run_path({!r}, run_name='__main__')\n"
            "except SystemExit as stop: print(stop)").format(str(ROOT / script))
    lines = call(place, "-c", code).splitlines()
    assert lines[0] == "start" and lines[1].startswith(f"{script}: ") and lines[2] == "torch is asked for"


def test_a_log_file_gets_plain_lines_instead_of_bars(place, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "LOG_STEPS", 3)
    base = ["train_ti.py", "--data", "steel/patches", "--weights", "toy", *TRAINING, "--no-preview", "--out", tmp_path]
    lines = [line for line in here(place, *base).splitlines() if line.startswith("iteration ")]
    assert [line.split(":")[0] for line in lines] == ["iteration 3 of 6", "iteration 6 of 6"]
    assert all("loss 0." in line or "loss 1." in line for line in lines) and "held out" in lines[-1]
    printed = call(place, *base)
    assert "iteration 6 of 6: loss" in printed and "%|" not in printed


@pytest.mark.parametrize("speed, dtype, told", [
    (0.6, torch.float32, "float32: bfloat16 would be 0.6 times as fast here"),
    (2.5, torch.bfloat16, "bfloat16: bfloat16 is 2.5 times as fast here"),
    (1.1, torch.float32, "float32: bfloat16 would be 1.1 times as fast here")])
def test_the_number_format_follows_what_was_measured(nano, monkeypatch, capsys, speed, dtype, told):
    monkeypatch.setattr(devices, "bfloat16_speed", lambda: speed)
    cpu = torch.device("cpu")
    assert devices.pick_dtype("auto", cpu) == dtype and devices.pick_dtype("float32", cpu) == torch.float32
    model.open_model(str(nano), "cpu", "auto")
    assert f"(--weights); cpu, {told}\n" in capsys.readouterr().out
    model.open_model(str(nano), "cpu", "float32")
    assert "cpu, float32\n" in capsys.readouterr().out


@pytest.mark.parametrize("novelty, against_copies, told", [
    (0.1, "raise s", "near copies of training images: raise s"), (0.1, "", ""), (1.0, "raise s", ""),
    (10.0, "raise s", "unlike anything real: lower s")])
def test_copies_and_images_unlike_anything_real_are_warned_of(capsys, tmp_path, novelty, against_copies, told):
    sampling.say_novelty([{"novelty": str(novelty)}] * 3, tmp_path, 5.0, against_copies, "lower s")
    out = capsys.readouterr().out
    assert f"wrote 3 images to {tmp_path}" in out and told in out and out.count("warning") == bool(told)


def test_adapters_of_replaced_weights_are_refused_and_those_of_others_warned_of(place, tmp_path):
    run = shutil.copytree(place / "runs" / "steel" / "patches", tmp_path / "patches")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"weights_sha256": "0" * 64}))
    sample = ["sample.py", "--run", run, "--number", "1", "--steps", "2", "--guidance", "2", "--strength", "0.4"]
    assert "of an earlier version: run train_ti.py" in here(place, *sample, ok=False)
    assert "wrote 1 images" in here(place, *sample, "--adapters", "none")
    (run / "run.json").write_text(json.dumps(record | {"weights_sha256": "0" * 64, "weights": "/elsewhere"}))
    assert "was trained on other weights, /elsewhere" in here(place, *sample, "--weights", "toy")


def test_a_choice_that_chance_made_or_that_lies_below_the_floor_is_told_by_sample(place, tmp_path):
    run = shutil.copytree(place / "runs" / "steel" / "patches", tmp_path / "patches")
    tuned = {"s": 0.3, "w": 2.0, "sampler": "ddim", "steps": 4}
    for more, told in (({"told_apart": False, "below_floor": True}, True), ({"told_apart": True}, False), ({}, False)):
        (run / "choice.json").write_text(json.dumps(tuned | more))
        out = here(place, "sample.py", "--run", run, "--number", "1")
        assert "tune.py chose s = 0.3" in out
        assert ("could not tell this choice" in out) == told and ("below the floor" in out) == told
    assert "tune.py chose" not in here(place, "sample.py", "--run", run, "--number", "1", "--untuned", "--steps", "4")


@pytest.mark.parametrize("command", [["train_ti.py"], ["train_lora.py"], ["sample.py"], ["fid.py"], ["classify.py"],
                                     ["-m", "stablesdg.prior"], ["-m", "stablesdg.download"], ["-m", "stablesdg.steel"],
                                     ["-m", "stablesdg.split"], ["-m", "stablesdg.prepare"], ["tune.py"]])
def test_help_imports_nothing_heavy(command, tmp_path):
    code = ("import runpy, sys; sys.argv = ['x', '--help']\n"
            "try: runpy.{}({!r}, run_name='__main__')\nexcept SystemExit: pass\n"
            "assert 'torch' not in sys.modules and 'transformers' not in sys.modules")
    how = ("run_module", command[1]) if command[0] == "-m" else ("run_path", str(ROOT / command[0]))
    assert "example: python" in call(tmp_path, "-c", code.format(*how))
