import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing in the tests may reach for a network

# Scaled-down Stable Diffusion with four levels of resolution; every width differs from the next one's inner widths.
UNET = dict(block_out_channels=(32, 64, 96, 96), layers_per_block=2, attention_head_dim=4, cross_attention_dim=32,
            norm_num_groups=16, sample_size=16,
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3)
VAE = dict(block_out_channels=(32, 64, 64, 96), layers_per_block=2, norm_num_groups=16, latent_channels=4)
TEXT = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, hidden_act="quick_gelu",
            max_position_embeddings=24)


MEASURED = {}  # test -> largest relative error that it measured


def relative_error(a, reference):
    """max |a - b| / rms(b)."""
    a, reference = a.detach().double(), reference.detach().double()
    error = float((a - reference).abs().max() / reference.square().mean().sqrt())
    test = os.environ["PYTEST_CURRENT_TEST"].split("::")[-1].split("[")[0].split(" ")[0]
    MEASURED[test] = max(error, MEASURED.get(test, 0.0))
    return error


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):  # one of several processes: hand the errors to the first
        session.config.workeroutput["measured"] = MEASURED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    MEASURED.update(getattr(node, "workeroutput", {}).get("measured", {}))


def pytest_terminal_summary(terminalreporter):
    if MEASURED:
        terminalreporter.section("largest relative errors, max |a - b| / rms(b)")
        for test, error in sorted(MEASURED.items()):
            terminalreporter.line(f"{error:8.1e}  {test.removeprefix('test_').replace('_', ' ')}")


def shrink_streams(model):
    """Make the norms' epsilons matter: layers before a norm get small weights, so that variances are near 1e-5."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim > 1 and "embedding" not in name and "time_emb" not in name:
                p.mul_(0.05)
            elif name.endswith("bias"):
                p.mul_(0.01)


@pytest.fixture(scope="session")
def nano():
    return ROOT / "weights" / "nano"


@pytest.fixture(scope="session")
def toy(tmp_path_factory, nano):
    """A random Stable Diffusion in the official folder layout, written by diffusers and transformers."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    unet = UNet2DConditionModel(**UNET)
    vae = AutoencoderKL(**VAE, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
                        sample_size=128)
    tokenizer = CLIPTokenizer.from_pretrained(nano / "tokenizer")
    text = CLIPTextModel(CLIPTextConfig(**TEXT, vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id,
                                        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id))
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                              set_alpha_to_one=False, steps_offset=1)
    folder = tmp_path_factory.mktemp("weights") / "toy"
    StableDiffusionPipeline(vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=scheduler,
                            safety_checker=None, feature_extractor=None,
                            requires_safety_checker=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def steel(tmp_path_factory):
    """Three classes of twelve procedural images."""
    from stablesdg.app.commands import steel

    folder = tmp_path_factory.mktemp("data") / "steel"
    steel.main([str(folder), "--number", "12"])
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory, toy, steel):
    """A working directory with data in steel/ and, after the paper's three stages, runs/steel/patches."""
    from commands import FLOAT32, TRAINING, call

    place = tmp_path_factory.mktemp("trained")
    shutil.copytree(steel, place / "steel")
    shutil.copytree(toy, place / "toy")
    out = call(place, "train_ti.py", "--data", "steel/patches", "--weights", "toy", *TRAINING)
    assert "runs/steel/patches/embedding.safetensors" in out
    out = call(place, "train_lora.py", "--rank", "1", "--data", "steel/patches", *TRAINING)
    assert "v_d* from" in out and "runs/steel/patches/lora.safetensors" in out
    out = call(place, "sample.py", "--strength", "0.4", "--number", "5", "--steps", "5", "--guidance", "2", *FLOAT32)
    assert "2 steps from t = 399" in out and "fewer than 10 lose fine detail: --steps 25 keeps" in out
    return place


@pytest.fixture(scope="module")
def place(tmp_path_factory, trained):
    """A copy of it that the tests of one file may change. The records name the copy, as if it had been made there."""
    place = shutil.copytree(trained, tmp_path_factory.mktemp("place"), dirs_exist_ok=True)
    before, now = (json.dumps(str(folder.resolve()))[1:-1] for folder in (trained, place))
    for record in (place / "runs").rglob("*.json"):
        record.write_text(record.read_text().replace(before, now))
    return place
