"""What the scripts refuse: in one sentence that says what to do."""
import json
import shutil

import pytest
from commands import TRAINING, here

from stablesdg.app.command_line import run_main
from stablesdg.data.generated import require_own_folder


def test_a_lora_trained_with_another_embedding_is_refused(place, tmp_path):
    run = shutil.copytree(place / "runs" / "steel", tmp_path / "steel") / "patches"
    here(place, "train_ti.py", "--data", "steel/patches", "--weights", "toy", *TRAINING, "--no-preview",
         "--seed", "5", "--out", run)
    assert "another embedding" in here(place, "sample.py", "--run", run, "--strength", "0.4", ok=False)


def test_a_lora_trained_before_the_embedding_is_not_combined_with_it_silently(place, tmp_path):
    here(place, "train_lora.py", "--data", "steel/pits", "--weights", "toy", *TRAINING, "--no-preview",
         "--out", tmp_path / "pits")
    here(place, "train_ti.py", "--data", "steel/pits", "--weights", "toy", *TRAINING, "--no-preview",
         "--out", tmp_path / "pits")
    assert "another embedding" in here(place, "sample.py", "--run", tmp_path / "pits", "--strength", "0.4", ok=False)
    out = here(place, "sample.py", "--run", tmp_path / "pits", "--adapters", "lora", "--number", "1", "--steps", "2",
               "--guidance", "2", "--strength", "0.4")
    assert "adapters: lora" in out


def test_adapters_whose_training_is_not_on_record_are_refused(place, tmp_path):
    run = shutil.copytree(place / "runs" / "steel", tmp_path / "steel") / "patches"
    record = json.loads((run / "run.json").read_text())
    del record["stages"]["ti"]
    (run / "run.json").write_text(json.dumps(record))
    error = here(place, "sample.py", "--run", run, "--adapters", "embedding", "--strength", "0.4", ok=False)
    assert "does not say how embedding.safetensors was trained" in error


def test_adapters_that_saw_a_test_image_are_refused_wherever_they_are_used(place, tmp_path):
    """The same images under another split: what was trained before is of no use with it."""
    shutil.copytree(place / "runs" / "steel", tmp_path / "runs" / "steel")
    manifest = tmp_path / "runs" / "steel" / "split.json"
    split = json.loads(manifest.read_text())
    patches = [name for name in split["files"] if name.startswith("patches")]
    part = {name: split["files"][name]["part"] for name in patches}
    train, test = (next(name for name in patches if part[name] == p) for p in ("train", "test"))
    split["files"][train]["part"], split["files"][test]["part"] = "test", "train"
    manifest.write_text(json.dumps(split))
    (tmp_path / "steel").symlink_to(place / "steel")
    for command in (["sample.py", "--run", "runs/steel/patches", "--number", "1"],
                    ["train_lora.py", "--data", "steel/patches", "--weights", place / "toy", *TRAINING],
                    ["classify.py", "--data", "steel", "--mode", "expand", "--generated", "runs/steel"]):
        for name in ("pits", "scratches"):
            shutil.copytree(place / "steel" / name, tmp_path / "runs" / "steel" / name / "samples", dirs_exist_ok=True)
            (tmp_path / "runs" / "steel" / name / "run.json").unlink(missing_ok=True)
        error = here(tmp_path, *command, ok=False)
        assert train in error and "test part" in error, error


@pytest.mark.parametrize("command, message", [
    (["train_ti.py", "--data", "nowhere"], "There is no folder nowhere"),
    (["train_ti.py", "--data", "steel/pits", "--prompt", "A photo"], "does not contain the token"),
    (["train_ti.py", "--data", "steel"], "it holds the folders patches, pits, scratches"),
    (["train_ti.py", "--data", "steel/pits", "--weights", "model.ckpt"], "pickle"),
    (["train_ti.py", "--data", "steel/patches", "--resume", "--iterations", "7"], "--iterations was 6"),
    (["train_ti.py", "--data", "steel/pits", "--weights", "nowhere"], "There are no weights"),
    (["train_ti.py", "--data", "steel/pits", "--device", "tpu9"], "--device tpu9 cannot be used"),
    (["sample.py", "--run", "steel"], "is not a run folder"),
    (["sample.py", "--run", "runs/steel"], "--run runs/steel/patches for example"),
    (["sample.py", "--run", "runs/steel/patches", "--strength", "1.5"], "strength must lie"),
    (["sample.py", "--run", "runs/steel/patches", "--adapters", "lara"], "not lara"),
    (["sample.py", "--run", "runs/steel/patches", "--adapters", "full"], "has no full.safetensors"),
    (["sample.py", "--run", "runs/steel/patches", "--from-noise", "--strength", "0.5"], "leave out --strength"),
    (["sample.py", "--run", "runs/steel/patches", "--strength", "0.5", "--out", "steel/pits"], "something else"),
    (["sample.py", "--run", "runs/steel/patches", "--compose", "--box-class", "pit"], "pass --boxes"),
    (["sample.py", "--run", "runs/steel/patches", "--classic", "--steps", "9"], "--steps has no effect on --classic"),
    (["sample.py", "--run", "runs/steel/patches", "--compat", "diffusers", "--sampler", "paper"], "not with paper"),
    (["fid.py", "steel/pits", "steel/patches", "--features", "nano", "--resize", "clean"], "leave out --resize"),
    (["-m", "stablesdg.plan", "steel", "--audit-only", "--features", "x.pth"], "leave out --features"),
    (["classify.py", "--data", "steel", "--mode", "synthetic", "--generated", "runs/steel", "--real-only", "pits"],
     "leave out --real-only"),
    (["fid.py", "steel/pits", "steel/patches"], "stablesdg.download --inception"),
    (["classify.py", "--data", "steel", "--mode", "expand"], "need --generated"),
    (["classify.py", "--mode", "none"], "--data DATASET is missing"),
    (["classify.py", "--data", "steel", "--mode", "expand", "--control", "steps"], "leave out --mode"),
    (["classify.py", "--predict", "steel/pits"], "need --model"),
    (["classify.py", "--predict", "steel/pits", "--model", "toy/unet/diffusion_pytorch_model.safetensors"],
     "not a classifier"),
    (["classify.py", "--data", "steel", "--mode", "expand", "--generated", "runs/unsampled"], "has no samples yet"),
    (["classify.py", "--data", "steel", "--pretrained", "nowhere.pth"], "nowhere.pth"),
    (["classify.py", "--data", "steel/pits"], "the folder above it")])
def test_what_a_user_can_mend_is_one_sentence_and_exit_code_1(place, command, message):
    (place / "model.ckpt").touch()
    (place / "runs" / "unsampled" / "patches").mkdir(parents=True, exist_ok=True)
    (place / "runs" / "unsampled" / "patches" / "run.json").write_text("{}")
    if command[0] == "fid.py":
        from stablesdg.weights.read import WEIGHTS
        if list(WEIGHTS.glob("pt_inception*")):
            pytest.skip("the Inception weights are there")
    error = here(place, *command, ok=False)
    assert error.splitlines()[-1].startswith("error: ") and message in error and "Traceback" not in error


def test_a_folder_with_files_of_another_origin_is_never_replaced(place):
    out = place / "precious"
    (out / ".git").mkdir(parents=True)
    (out / "manifest.csv").write_text("id,label\n")
    error = here(place, "sample.py", "--run", "runs/steel/patches", "--number", "1", "--steps", "5", "--out", out,
                 ok=False)
    assert "something else than generated images (.git)" in error and (out / ".git").is_dir()
    (out / "Thumbs.db").touch()  # but a file manager's own file is no reason
    (out / ".git").rmdir()
    require_own_folder(out)


def test_a_prompt_that_is_too_long_for_its_learned_token_is_refused(place):
    error = here(place, "train_ti.py", "--data", "steel/patches", "--weights", "toy", *TRAINING, "--out", "runs/long",
                 "--prompt", "A close photo of " + 12 * "hot-rolled steel " + "with <unknown>", ok=False)
    assert "shorten the prompt" in error


@pytest.mark.parametrize("error, told", [
    (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "lower --batch-size"),
    (PermissionError(13, "Permission denied", "runs"), "Permission denied: 'runs'")])
def test_a_lack_of_memory_or_of_rights_is_told_in_one_line(error, told, capsys):
    def fail():
        raise error

    with pytest.raises(SystemExit):
        run_main(fail)
    assert told in capsys.readouterr().err


def test_sampling_before_any_training_says_which_command_comes_first(tmp_path):
    assert "python train_ti.py --data neu/Pa" in here(tmp_path, "sample.py", "--strength", "0.4", ok=False)


@pytest.mark.parametrize("script, option", [("sample.py", "--guidance"), ("sample.py", "--strength"),
                                            ("tune.py", "--guidances"), ("train_lora.py", "--alpha")])
def test_nan_and_infinity_are_no_settings(tmp_path, script, option):
    for text in ("nan", "inf"):
        assert f"{text} is not a number to compute with" in here(tmp_path, script, option, text, ok=False)
