"""The loop that weights/nano came from, the folder that it writes, and FD-nano."""
import csv
import functools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from commands import here
from conftest import relative_error
from PIL import Image as PILImage
from PIL import ImageFilter

from stablesdg.app.compat import plan_diffusers
from stablesdg.data import steel
from stablesdg.data.images import save_image, to_image, to_tensor
from stablesdg.evaluate.features import load_feature_network
from stablesdg.evaluate.frechet import frechet_distance
from stablesdg.generation import generate
from stablesdg.models.stable_diffusion import load_stable_diffusion
from stablesdg.prior import pretraining
from stablesdg.prior.autoencoder import AutoencoderSettings
from stablesdg.prior.denoiser import DenoiserSettings
from stablesdg.prior.feature_network import DEGRADATIONS, FeatureSettings, load_naming_network
from stablesdg.prior.loop import Loop, read_parts
from stablesdg.prior.model_card import command, is_of
from stablesdg.prior.textures import ATTRIBUTES, draw
from stablesdg.prior.tokenizer import learn_merges
from stablesdg.storage.checkpoint import Checkpoint
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import sha256
from stablesdg.storage.tensors import load_tensors

STAGES = ("autoencoder", "features", "text", "unet")
PRIOR = ("-m", "stablesdg.prior.__main__")


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Pretraining at a size that takes seconds, on six photographs and on drawn textures."""
    for i in range(6):
        save_image(tmp_path / "surfaces" / "steel" / f"{i}.png", steel.steel_image("patches", i))
    settings = functools.partial(
        pretraining.PriorSettings, side=64, large_side=72, held_out=4, photo_share=0.5,
        autoencoder=AutoencoderSettings(latent_channels=8, block_out_channels=(8, 8, 16), crop=32),
        features=FeatureSettings(widths=(8, 8, 16, 16, 16), crop=48, large_crop=64),
        unet=DenoiserSettings((16, 24, 32), ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 2,
                              ("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",)))
    monkeypatch.setattr(pretraining, "PriorSettings", settings)
    return ["--photographs", tmp_path / "surfaces", "--images", 20, "--autoencoder-steps", 4, "--features-steps", 2,
            "--features-batch", 4, "--text-steps", 4, "--unet-steps", 4, "--unet-batch", 2, "--every", 2,
            "--device", "cpu"]


def test_pretraining_writes_a_prior_that_loads_and_a_stopped_one_ends_with_the_same_bytes(small, tmp_path, monkeypatch):
    out = here(tmp_path, *PRIOR, *small, "--out", "whole", "--work", "work-1", "--dtype", "float32")
    assert "wrote whole" in out
    sd = load_stable_diffusion(tmp_path / "whole")
    assert sd.text.ids("<unknown>") and len(sd.alpha_bar) == 1000 and sd.recipe["train_lora"]["lr"] == 2e-3
    assert sd.vae.factor == 4 and sd.unet.conv_in.in_channels == 8
    card = (tmp_path / "whole" / "README.md").read_text()
    assert "not** Stable" in card and "6 photographs of surfaces" in card and "| steel | 6 |" in card
    stop_each_stage_once(tmp_path, monkeypatch, [*small, "--out", "parts", "--work", "work-2", "--dtype", "float32"])
    for file in (tmp_path / "whole").rglob("*"):
        if file.is_file() and file.name != "README.md":  # which tells hours
            assert sha256(file) == sha256(tmp_path / "parts" / file.relative_to(tmp_path / "whole")), file
    error = here(tmp_path, *PRIOR, *small, "--autoencoder-steps", 5, "--work", "work-2", "--out", "new", ok=False)
    assert "other settings (steps was 4 and is 5)" in error
    (tmp_path / "work-2" / "text.safetensors").unlink()  # a new text encoder needs a new UNet
    error = here(tmp_path, *PRIOR, *small, "--text-steps", 5, "--out", "new", "--work", "work-2", ok=False)
    assert "unet.safetensors was made with other settings (text was" in error
    error = here(tmp_path, *PRIOR, *small, "--autoencoder-steps", 5, "--out", "whole", "--work", "work-4", ok=False)
    assert "something else than a prior of these settings" in error and not (tmp_path / "work-4").exists()


def test_a_prior_is_told_from_those_whose_command_only_begins_as_its_own(tmp_path):
    loops = {stage: Loop(4, 2, 1e-3, 0.9) for stage in STAGES}
    made, other = (pretraining.PriorSettings(images=20, seed=seed) for seed in (12, 1))
    taught = replace(made, features=replace(made.features, teacher="imagenet"))
    for settings, others in ((made, [other, taught]), (taught, [made])):
        (tmp_path / "README.md").write_text(f"Made by `{command(settings, loops)}`, with PyTorch.")
        assert is_of(tmp_path, settings, loops) and not any(is_of(tmp_path, one, loops) for one in others)


def stop_each_stage_once(tmp_path, monkeypatch, command):
    """Run pretraining, interrupted once after the first checkpoint of each stage."""
    class Stop(Exception):
        pass

    save = Checkpoint.save

    def save_and_stop(self, parameters, optimiser, record):
        save(self, parameters, optimiser, record)
        if record["step"] == 2 and not (tmp_path / f"stopped-{self.path.name}").exists():
            (tmp_path / f"stopped-{self.path.name}").touch()
            raise Stop

    monkeypatch.setattr(Checkpoint, "save", save_and_stop)
    for _ in STAGES:
        with pytest.raises(Stop):
            here(tmp_path, *PRIOR, *command)
    assert "wrote parts" in here(tmp_path, *PRIOR, *command)


def test_a_pack_takes_the_place_of_its_folder_and_bfloat16_learns_the_same(small, tmp_path):
    stages = ["--stages", "autoencoder,text,unet", "--out", "none"]
    here(tmp_path, *PRIOR, *small, *stages, "--work", "work-1", "--dtype", "float32")
    small[1] = tmp_path / "work-1" / "photographs.safetensors"
    here(tmp_path, *PRIOR, *small, *stages, "--work", "work-3", "--dtype", "bfloat16")
    assert not (tmp_path / "none").exists()  # the features are missing
    loss = {work: float(list(csv.DictReader(open(tmp_path / work / "log-unet.csv")))[-1]["loss"])
            for work in ("work-1", "work-3")}
    assert loss["work-3"] == pytest.approx(loss["work-1"], rel=0.05)
    error = here(tmp_path, *PRIOR, *small, "--stages", "unet", "--work", "work-5", "--out", "none", ok=False)
    assert "train these stages first" in error


def test_time_that_is_up_leaves_a_checkpoint_that_goes_on_with_other_batches(small, tmp_path):
    command = [*small, "--stages", "autoencoder", "--work", "work", "--out", "none"]
    out = here(tmp_path, *PRIOR, *command, "--hours", 1e-9)
    assert "stopped after 0 of 4 steps" in out
    here(tmp_path, *PRIOR, *command, "--autoencoder-steps", 2)
    (tmp_path / "work" / "autoencoder.safetensors").unlink()
    assert "going on after 2 steps" in here(tmp_path, *PRIOR, *command, "--autoencoder-batch", 6)
    assert (tmp_path / "work" / "autoencoder.safetensors").is_file()


def test_parts_of_a_stage_are_what_another_machine_starts_from(small, tmp_path):
    command = [*small, "--stages", "autoencoder", "--out", "none"]
    here(tmp_path, *PRIOR, *command, "--work", "work-1", "--autoencoder-steps", 2)
    (tmp_path / "work-1" / "autoencoder.safetensors").rename(tmp_path / "finished.safetensors")
    out = here(tmp_path, "-m", "stablesdg.prior.parts", "work-1", "autoencoder", "work-2", "--megabytes", 1)
    assert "start-autoencoder-0.safetensors" in out
    average, _ = load_tensors(tmp_path / "finished.safetensors")
    parts = read_parts(tmp_path / "work-2", "autoencoder")
    assert parts.keys() == average.keys()
    assert max(float((parts[name] - value).abs().max()) for name, value in average.items()) < 1e-3
    here(tmp_path, *PRIOR, *command, "--work", "work-2", "--autoencoder-steps", 1, "--autoencoder-lr", 1e-9)
    again, _ = load_tensors(tmp_path / "work-2" / "autoencoder.safetensors")
    assert max(float((again[name] - parts[name]).abs().max()) for name in parts) < 1e-6
    error = here(tmp_path, "-m", "stablesdg.prior.parts", "work-1", "unet", "work-2", ok=False)
    assert "neither a finished stage unet nor a checkpoint" in error


def test_a_prior_goes_on_from_a_finished_one_of_its_sizes_and_from_no_other(small, tmp_path, nano):
    here(tmp_path, *PRIOR, *small, "--out", "whole", "--work", "work-1")
    again = [*small, "--autoencoder-steps", 1, "--autoencoder-lr", "1e-9"]
    here(tmp_path, *PRIOR, *again, "--out", "more", "--work", "work-2", "--start", "whole")
    first, more = (load_stable_diffusion(tmp_path / name).vae.state_dict() for name in ("whole", "more"))
    assert max(relative_error(more[name], value) for name, value in first.items()) < 1e-3
    assert "went on from the weights of an earlier prior: autoencoder, features, unet" in (
        tmp_path / "more" / "README.md").read_text()
    assert "did not start from" in here(tmp_path, *PRIOR, *small, "--out", "x", "--work", "work-1", "--start", "whole",
                                        ok=False)
    assert "are of a network of other sizes" in here(tmp_path, *PRIOR, *small, "--out", "other", "--work", "work-3",
                                                     "--start", nano, ok=False)


def test_the_feature_network_learns_from_a_teacher_and_the_prior_does_not_keep_that_head(small, tmp_path):
    command = [*small, "--features-steps", 40, "--features-lr", "0.01", "--every", 20, "--teacher",
               "imagenet"]
    here(tmp_path, *PRIOR, *command, "--out", "taught", "--work", "work")
    first, last = csv.DictReader(open(tmp_path / "work" / "log-features.csv"))
    assert float(last["loss"]) < float(first["loss"]) and -1 < float(last["teacher"]) < 1
    tensors, _ = load_tensors(tmp_path / "taught" / "features.safetensors")
    assert "heads.base.weight" in tensors and not any(name.startswith("heads.teacher") for name in tensors)
    card = (tmp_path / "taught" / "README.md").read_text()
    assert "EfficientNet-Lite0" in card and "--teacher imagenet" in card
    here(tmp_path, *PRIOR, *command, "--features-steps", 2, "--out", "more", "--work", "work-2", "--start",
         "taught")


def test_merges_are_the_commonest_pairs_and_depend_on_the_captions_alone():
    captions = ["low lower lowest"] * 3 + ["newest widest", "banana"] * 2
    merges = learn_merges(captions)
    # l o 9 times, w e 8 (the w of "low" ends a word and is another symbol), s t 7, then lo we 6
    assert merges[:4] == [("l", "o"), ("w", "e"), ("s", "t</w>"), ("lo", "we")] and merges[4] == ("a", "n")
    assert learn_merges(captions[::-1]) == merges
    assert learn_merges(["aaaa aaaa"]) == [("a", "a"), ("a", "a</w>"), ("aa", "aa</w>")]
    assert learn_merges(["once"]) == []


def test_diffusers_opens_the_embedded_prior_and_makes_our_image_from_the_same_noise(nano):
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(nano, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    sd = load_stable_diffusion(nano)
    prompt = "a photo of dark lines on gray brushed metal"
    noise = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(3))
    assert isinstance(pipe.scheduler, DDIMScheduler)
    assert sd.text.encode([prompt]).shape[1] == pipe.tokenizer.model_max_length
    theirs = pipe(prompt, latents=noise, height=64, width=64, guidance_scale=2.0, num_inference_steps=10,
                  output_type="pt").images[0]
    ours = generate(sd, torch.zeros(1, 3, 64, 64), [3], prompt, strength=1.0, guidance=2.0, from_noise=True,
                    path=plan_diffusers(sd, 1.0, 10, "ddim"))[0]
    difference = (np.asarray(to_image(ours), dtype=int) - np.asarray(to_image(theirs * 2 - 1), dtype=int))
    assert relative_error(ours / 2 + 0.5, theirs) < 1e-2 and np.abs(difference).max() <= 1


def test_the_embedded_prior_is_small_and_its_tokenizer_is_clips_own_format(nano):
    assert sum(f.stat().st_size for f in nano.rglob("*") if f.is_file()) < 40 * 2**20
    sd = load_stable_diffusion(nano)
    pieces = sd.text.tokenizer.convert_ids_to_tokens(sd.text.ids("<unknown>"))
    assert pieces == ["<</w>", "unknown</w>", "></w>"]
    vocabulary = json.loads((nano / "tokenizer" / "vocab.json").read_text())
    assert vocabulary["<|startoftext|>"] == len(vocabulary) - 2 and vocabulary["<|endoftext|>"] == len(vocabulary) - 1
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))


def test_fd_nano_grows_with_every_degradation_and_is_smallest_between_sets_of_one_kind(nano):
    network = load_feature_network(nano / "features.safetensors")

    def features(images):
        with torch.no_grad():
            return torch.cat([network(to_tensor(image.convert("RGB"))[None] / 2 + 0.5) for image in images])

    def noisy(image, sd, seed):
        x = np.asarray(image) + sd * np.random.default_rng(seed).standard_normal(image.size[::-1])
        return PILImage.fromarray(x.clip(0, 255).astype(np.uint8))

    images = [steel.steel_image("patches", i) for i in range(40)]
    reference, others = features(images[:20]), images[20:]
    strangers = [steel.steel_image("scratches", i) for i in range(20)]
    floor = frechet_distance(reference, features(others))
    for levels in ([[x.filter(ImageFilter.GaussianBlur(s)) for x in others] for s in (1, 2, 4)],
                   [[noisy(x, sd, k) for k, x in enumerate(others)] for sd in (8, 16, 32)],
                   [strangers[:n] + others[n:] for n in (4, 10, 20)]):
        distances = [floor, *(frechet_distance(reference, features(level)) for level in levels)]
        assert distances == sorted(distances), distances


def test_the_feature_network_names_bases_of_textures_it_never_saw_and_marks_better_than_chance(nano):
    network = load_naming_network(nano / "features.safetensors")
    held_out = [draw(30_000_000 + i) for i in range(64)]
    with torch.no_grad():
        told = network.name(network(torch.stack([to_tensor(PILImage.fromarray(t.image)) for t in held_out]) / 2 + 0.5))
    assert told["degradation"].shape == (64, len(DEGRADATIONS))
    for name, least in (("base", 0.7), ("mark", 0.25)):  # chance is 0.125 and, always naming the commonest, 0.17
        right = np.mean([ATTRIBUTES[name][k] == t.attributes[name] for k, t in zip(told[name].argmax(1), held_out)])
        assert right >= least, right


def test_absent_features_are_answered_with_where_they_come_from(tmp_path):
    with pytest.raises(UserError, match="python -m stablesdg.prior"):
        load_feature_network(tmp_path / "features.safetensors")
