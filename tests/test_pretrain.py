"""Textures, the loop that weights/nano came from, the folder that it wrote, and FD-nano."""
import csv
import json
import re

import numpy as np
import pytest
import torch
from conftest import relative_error
from PIL import ImageFilter
from PIL import Image as PILImage
from commands import here

import pretrain
from stablesdg.prior import pretraining
from stablesdg.data import steel
from stablesdg.data.images import to_image, to_tensor
from stablesdg.evaluate.features import DEGRADATIONS, load_feature_network
from stablesdg.storage.errors import UserError
from stablesdg.storage.files import sha256
from stablesdg.generation import generate
from stablesdg.models.stable_diffusion import load_stable_diffusion
from stablesdg.evaluate.metrics import frechet_distance
from stablesdg.weights.export import learn_merges
from stablesdg.prior.textures import ATTRIBUTES, BASES, MARKS, draw

CLASS_NAMES = ("patch", "scratch", "craz", "inclusion", "pit", "rolled", "scale", "indentation", "oxide", "slag")


@pytest.fixture(scope="module")
def textures():
    return [draw(i, side=96) for i in range(96)]


def test_a_texture_depends_on_seed_and_index_alone(textures):
    again = draw(7, side=96)
    assert np.array_equal(again.image, textures[7].image) and again.caption == textures[7].caption
    assert not np.array_equal(draw(7, seed=1, side=96).image, textures[7].image)
    assert textures[0].image.shape == (96, 96, 3) and textures[0].image.dtype == np.uint8


def test_textures_cover_all_bases_and_marks_and_are_mostly_gray(textures):
    assert {t.attributes["base"] for t in textures} == set(BASES)
    assert {t.attributes["mark"] for t in textures} == set(MARKS)
    for texture in textures:
        assert all(value in ATTRIBUTES[name] for name, value in texture.attributes.items())
        gray = all(np.array_equal(texture.image[..., 0], texture.image[..., c]) for c in (1, 2))
        assert gray == (texture.attributes["tint"] == "none")
    assert 0.6 < np.mean([t.attributes["tint"] == "none" for t in textures]) < 0.95


def test_captions_say_what_was_drawn_and_no_class_of_the_steel_data_sets(textures):
    for texture in (draw(i, side=32) for i in range(400)):
        words = texture.caption.split()
        assert not any(name in texture.caption for name in CLASS_NAMES)
        if not re.search("<unknown>|a defect|a surface$", texture.caption):
            assert texture.attributes["base"] in words
            assert (texture.attributes["mark"] in words) == (texture.attributes["mark"] != "none")


def test_a_larger_texture_shows_more_and_not_the_same_larger():
    """Grain keeps its size in pixels: the share of power above half the Nyquist frequency does not depend on the side."""
    def fine(side):
        shares = []
        for i in range(24):
            gray = draw(i, side=side).image.mean(-1)
            power = np.abs(np.fft.rfft2(gray - gray.mean())) ** 2
            f = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
            shares.append(power[f > 0.25].sum() / power[f > 0.05].sum())
        return np.median(shares)

    assert fine(96) == pytest.approx(fine(192), rel=0.35)


@pytest.fixture
def small(monkeypatch):
    """pretrain.py at a size that takes seconds."""
    for name, value in dict(SIDE=64, LARGE=72, HELD_OUT_IMAGES=4, BATCH=2, CROP=32, FEATURE_CROP=48, FEATURE_BATCH=4).items():
        monkeypatch.setattr(pretrain, name, value)
    return ["--textures", 20, "--vae-steps", 4, "--feature-steps", 2, "--text-steps", 4, "--unet-steps", 4, "--every", 2, "--device", "cpu"]


def test_pretraining_writes_a_prior_that_loads_and_a_stopped_one_ends_with_the_same_bytes(small, tmp_path, monkeypatch):
    out = here(tmp_path, "pretrain.py", *small, "--out", "whole", "--work", "work-1")
    assert "wrote whole" in out
    sd = load_stable_diffusion(tmp_path / "whole")
    assert sd.text.ids("<unknown>") and len(sd.alpha_bar) == 1000 and sd.recipe["train_lora"]["lr"] == 2e-3
    assert "not** Stable" in (tmp_path / "whole" / "README.md").read_text()

    class Stop(Exception):
        pass

    save = pretraining._save
    for _ in ("vae", "features", "text", "unet"):
        def save_and_stop(path, *args):
            save(path, *args)
            if args[4] == 2 and not (tmp_path / f"stopped-{path.name}").exists():
                (tmp_path / f"stopped-{path.name}").touch()
                raise Stop

        monkeypatch.setattr(pretraining, "_save", save_and_stop)
        with pytest.raises(Stop):
            here(tmp_path, "pretrain.py", *small, "--out", "parts", "--work", "work-2")
    out = here(tmp_path, "pretrain.py", *small, "--out", "parts", "--work", "work-2")
    for file in (tmp_path / "whole").rglob("*"):
        if file.is_file() and file.name != "README.md":  # which tells hours
            assert sha256(file) == sha256(tmp_path / "parts" / file.relative_to(tmp_path / "whole")), file
    here(tmp_path, "pretrain.py", *small, "--work", "work-3", "--stop-after", "unet", "--dtype", "bfloat16")
    log = {work: list(csv.DictReader(open(tmp_path / work / "log-unet.csv"))) for work in ("work-1", "work-3")}
    assert float(log["work-3"][-1]["loss"]) == pytest.approx(float(log["work-1"][-1]["loss"]), rel=0.05)
    assert "other settings (steps)" in here(tmp_path, "pretrain.py", *small, "--vae-steps", 5, "--work", "work-2", ok=False)
    (tmp_path / "work-2" / "text.safetensors").unlink()  # a new text encoder needs a new UNet
    error = here(tmp_path, "pretrain.py", *small, "--text-steps", 5, "--out", "new", "--work", "work-2", ok=False)
    assert "unet.safetensors was made with other settings (text)" in error
    error = here(tmp_path, "pretrain.py", *small, "--vae-steps", 5, "--out", "whole", "--work", "work-4", ok=False)
    assert "something else than a prior of these settings" in error and not (tmp_path / "work-4").exists()


def test_merges_are_the_commonest_pairs_and_depend_on_the_captions_alone():
    captions = ["low lower lowest"] * 3 + ["newest widest", "banana"] * 2
    merges = learn_merges(captions)
    # l o 9 times, w e 8 (the w of "low" ends a word and is another symbol), s t 7, then lo we 6
    assert merges[:4] == [("l", "o"), ("w", "e"), ("s", "t</w>"), ("lo", "we")] and merges[4] == ("a", "n")
    assert learn_merges(captions[::-1]) == merges
    assert learn_merges(["aaaa aaaa"])== [("a", "a"), ("a", "a</w>"), ("aa", "aa</w>")] and learn_merges(["once"]) == []


def test_diffusers_opens_the_embedded_prior_and_makes_our_image_from_the_same_noise(nano):
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(nano, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    sd = load_stable_diffusion(nano)
    prompt, noise = "a photo of dark lines on gray brushed metal", torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(3))
    assert isinstance(pipe.scheduler, DDIMScheduler)
    assert sd.text.encode([prompt]).shape[1] == pipe.tokenizer.model_max_length
    theirs = pipe(prompt, latents=noise, height=64, width=64, guidance_scale=2.0, num_inference_steps=10, output_type="pt").images[0]
    ours = generate(sd, (1, 4, 32, 32), [3], prompt, strength=1.0, guidance=2.0, steps=10, compat="diffusers")[0]
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

    images = [steel.draw("patches", i) for i in range(40)]
    reference, others, strangers = features(images[:20]), images[20:], [steel.draw("scratches", i) for i in range(20)]
    floor = frechet_distance(reference, features(others))
    for levels in ([[x.filter(ImageFilter.GaussianBlur(s)) for x in others] for s in (1, 2, 4)],
                   [[noisy(x, sd, k) for k, x in enumerate(others)] for sd in (8, 16, 32)],
                   [strangers[:n] + others[n:] for n in (4, 10, 20)]):
        distances = [floor, *(frechet_distance(reference, features(level)) for level in levels)]
        assert distances == sorted(distances), distances


def test_the_feature_network_names_bases_of_textures_it_never_saw_and_marks_better_than_chance(nano):
    network = load_feature_network(nano / "features.safetensors")
    held_out = [draw(30_000_000 + i) for i in range(64)]
    with torch.no_grad():
        told = network.name(network(torch.stack([to_tensor(PILImage.fromarray(t.image)) for t in held_out]) / 2 + 0.5))
    assert told["degradation"].shape == (64, len(DEGRADATIONS))
    for name, least in (("base", 0.7), ("mark", 0.25)):  # chance is 0.125 and, always naming the commonest, 0.17
        right = np.mean([ATTRIBUTES[name][k] == t.attributes[name] for k, t in zip(told[name].argmax(1), held_out)])
        assert right >= least, right


def test_absent_features_are_answered_with_where_they_come_from(tmp_path):
    with pytest.raises(UserError, match="pretrain.py"):
        load_feature_network(tmp_path / "features.safetensors")
