"""Loading: every official spelling gives the same model, and every fault is named."""
import json
import shutil

import pytest
import torch
from conftest import TEXT, UNET, VAE
from safetensors.torch import load_file, save_file

from stablesdg.models import stable_diffusion as loading
from stablesdg.models.stable_diffusion import build, load_stable_diffusion
from stablesdg.models.unet import UNet
from stablesdg.models.vae import VAE as OurVAE
from stablesdg.storage.errors import UserError
from stablesdg.weights import read
from stablesdg.weights.configs import SD15_TEXT
from stablesdg.weights.keys import compvis_unet_names, compvis_vae_names

UNET_FILE, VAE_FILE = "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"


def states(models):
    """The tensors of (text, unet, vae)."""
    text, unet, vae = models
    return {f"{i}.{k}": v for i, m in enumerate((text.model, unet, vae)) for k, v in m.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def of(sd):
    return states((sd.text, sd.unet, sd.vae))


@pytest.fixture(scope="module")
def reference(toy):
    return of(load_stable_diffusion(toy))


@pytest.fixture
def copy(toy, tmp_path):
    return shutil.copytree(toy, tmp_path / "copy")


def test_fp16_variant_files_load(copy, reference):
    for file in list(copy.glob("*/*.safetensors")):
        save_file({k: v.half() for k, v in load_file(file).items()}, file.with_suffix(".fp16.safetensors"))
        file.unlink()
    loaded = of(load_stable_diffusion(copy))
    assert equal(loaded, {k: v.half().float() for k, v in reference.items()})


def test_sharded_files_load(copy, reference):
    tensors = load_file(copy / UNET_FILE)
    names = sorted(tensors)
    weight_map = {k: f"part-{i % 3}.safetensors" for i, k in enumerate(names)}
    for shard in set(weight_map.values()):
        save_file({k: tensors[k] for k in names if weight_map[k] == shard}, copy / "unet" / shard)
    (copy / UNET_FILE).unlink()
    index = copy / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert equal(of(load_stable_diffusion(copy)), reference)


@pytest.mark.parametrize("as_convolutions", [False, True])
def test_old_vae_attention_names_load(copy, reference, as_convolutions):
    tensors = {}
    for key, value in load_file(copy / VAE_FILE).items():
        for old, new in ((".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."),
                         (".proj_attn.", ".to_out.0.")):
            if "attentions" in key and new in key:
                key = key.replace(new, old)
                value = value[:, :, None, None] if as_convolutions and value.ndim == 2 else value
        tensors[key] = value.contiguous()
    assert any(".query." in key for key in tensors)
    save_file(tensors, copy / VAE_FILE)
    assert equal(of(load_stable_diffusion(copy)), reference)


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_text_names_load_with_and_without_prefix_and_position_ids(copy, reference, prefix):
    file = copy / "text_encoder" / "model.safetensors"
    tensors = {prefix + k.removeprefix("text_model."): v for k, v in load_file(file).items()}
    save_file(tensors | {prefix + "embeddings.position_ids": torch.arange(24)[None]}, file)
    assert equal(of(load_stable_diffusion(copy)), reference)


def test_what_a_single_file_does_not_say_is_taken_from_the_official_configuration():
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig

    ours, theirs = CLIPTextConfig(**SD15_TEXT), CLIPTextConfig()
    assert (ours.hidden_act, ours.layer_norm_eps) == (theirs.hidden_act, theirs.layer_norm_eps)
    assert OurVAE().scaling_factor == AutoencoderKL().config["scaling_factor"]


@pytest.mark.parametrize("ema", [False, True])
def test_a_single_compvis_file_loads_and_its_ema_copies_win(toy, reference, tmp_path, monkeypatch, ema):
    for model, sizes in (("UNet", UNET), ("VAE", VAE)):
        original = getattr(loading, model)
        monkeypatch.setattr(loading, model, lambda original=original, sizes=sizes, **_: original(**sizes))
    sd = load_stable_diffusion(toy)
    monkeypatch.setattr(loading, "SD15_TEXT", {**TEXT, "vocab_size": sd.text.model.config.vocab_size})
    unet, vae = sd.unet.state_dict(), sd.vae.state_dict()
    tensors = {"model.diffusion_model." + name: unet[key] for key, name in compvis_unet_names(sd.unet).items()}
    if ema:
        flat = {"model_ema." + k.removeprefix("model.").replace(".", ""): v for k, v in tensors.items()}
        tensors = {k: v + 1 for k, v in tensors.items()} | flat | {"model_ema.decay": torch.ones(())}
    for key, name in compvis_vae_names(sd.vae).items():
        convolution = "attn_1" in name and vae[key].ndim == 2
        tensors["first_stage_model." + name] = vae[key][:, :, None, None] if convolution else vae[key]
    tensors |= {"cond_stage_model.transformer.text_model." + k.removeprefix("text_model."): v
                for k, v in sd.text.model.state_dict().items()}
    tensors |= {"betas": torch.zeros(1000),
                "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(24)}
    save_file({k: v.contiguous() for k, v in tensors.items()}, tmp_path / "v1.safetensors")
    with pytest.raises(UserError, match="tokenizer"):
        monkeypatch.setattr(read, "OFFICIAL", tmp_path / "absent")
        load_stable_diffusion(tmp_path / "v1.safetensors")
    shutil.copytree(toy / "tokenizer", tmp_path / "tokenizer")
    assert equal(of(load_stable_diffusion(tmp_path / "v1.safetensors")), reference)

    del tensors["first_stage_model.decoder.norm_out.weight"]
    save_file({k: v.contiguous() for k, v in tensors.items()}, tmp_path / "v1.safetensors")
    with pytest.raises(UserError, match="missing decoder.conv_norm_out.weight"):
        load_stable_diffusion(tmp_path / "v1.safetensors")


def test_compvis_names_of_the_full_size_models_are_those_that_diffusers_converts():
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    config = dict(layers_per_block=2, down_block_types=[0] * 4, up_block_types=[0] * 4, block_out_channels=[0] * 4,
                  class_embed_type=None, addition_embed_type=None)
    names = compvis_unet_names(build(UNet))
    converted = convert_ldm_unet_checkpoint({"model.diffusion_model." + v: k for k, v in names.items()}, config)
    assert converted == {k: k for k in names} and len(names) == 686

    names = compvis_vae_names(build(OurVAE))
    tensors = {}
    for i, name in enumerate(names.values()):
        shape = (1, 1, 1, 1) if "attn_1" in name and name.endswith("weight") and "norm" not in name else (1,)
        tensors["first_stage_model." + name] = torch.full(shape, float(i))
    converted = convert_ldm_vae_checkpoint(tensors, config)
    assert {k: int(v) for k, v in converted.items()} == {k: i for i, k in enumerate(names)} and len(names) == 248


def test_missing_unexpected_and_misshapen_tensors_are_listed_by_name(copy):
    tensors = load_file(copy / UNET_FILE)
    del tensors["conv_in.bias"]
    tensors["surplus"] = torch.ones(1)
    tensors["conv_out.bias"] = torch.ones(7)
    save_file(tensors, copy / UNET_FILE)
    with pytest.raises(UserError) as error:
        load_stable_diffusion(copy)
    for fault in ("missing conv_in.bias", "unexpected surplus", "conv_out.bias has shape (7,), not (4,)"):
        assert fault in str(error.value)


def test_a_truncated_file_is_named(copy):
    data = (copy / VAE_FILE).read_bytes()
    (copy / VAE_FILE).write_bytes(data[:len(data) // 2])
    with pytest.raises(UserError, match=VAE_FILE):
        load_stable_diffusion(copy)


@pytest.mark.parametrize("name", ["v1-5-pruned.ckpt", "model.bin"])
def test_pickles_are_refused_with_the_way_to_convert(copy, tmp_path, name):
    (tmp_path / name).write_bytes(b"never opened")
    with pytest.raises(UserError, match="pickle.*safetensors file of the same name.*weights_only=True"):
        load_stable_diffusion(tmp_path / name)
    (copy / UNET_FILE).rename(copy / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(UserError, match="pickle"):
        load_stable_diffusion(copy)


def test_the_conversion_that_the_refusal_prints_works(tmp_path):
    import re
    import subprocess
    import sys

    torch.save({"state_dict": {"a": torch.ones(2)}, "step": 3}, tmp_path / "old.ckpt")
    with pytest.raises(UserError) as error:
        load_stable_diffusion(tmp_path / "old.ckpt")
    code = re.search(r'-c "(.*)"', str(error.value)).group(1)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert load_file(tmp_path / "old.safetensors")["a"].tolist() == [1, 1]


@pytest.mark.parametrize("part, key, value", [
    ("unet", "use_linear_projection", True), ("unet", "attention_head_dim", [5, 10, 20, 20]),
    ("unet", "act_fn", "gelu"), ("unet", "class_embed_type", "timestep"), ("vae", "use_quant_conv", False),
    ("unet", "down_block_types", ["AttnDownBlock2D"] * 4), ("scheduler", "prediction_type", "v_prediction"),
    ("scheduler", "beta_schedule", "squaredcos_cap_v2")])
def test_an_architecture_that_is_not_implemented_is_refused_by_name(copy, part, key, value):
    file = copy / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(UserError, match=f"{key}|heads|AttnDownBlock2D"):
        load_stable_diffusion(copy)


def test_absent_weights_are_answered_with_the_command_that_fetches_them(tmp_path):
    with pytest.raises(UserError, match="stablesdg.download"):
        load_stable_diffusion(tmp_path / "nowhere")


def test_what_is_fetched_is_what_was_named_and_all_where_nothing_was(tmp_path, monkeypatch, capsys):
    from stablesdg.app.commands import download

    monkeypatch.setattr("stablesdg.weights.download.fetch_from_hub", lambda name, folder: print(name))
    monkeypatch.setattr("stablesdg.weights.download.fetch_inception", lambda file: print("inception"))
    found = {}
    for words in ((), ("--inception",), ("--tokenizer",), ("--inception", "--tokenizer")):
        download.main([*words, "--out", str(tmp_path)])
        said = capsys.readouterr().out
        found[words] = tuple(what in said for what in ("tokenizer/vocab", "diffusion_pytorch_model", "inception\n"))
    assert list(found.values()) == [(True, True, True), (False, False, True), (True, False, False), (True, False, True)]


def test_download_without_a_network_names_the_files_and_the_place(tmp_path, monkeypatch):
    from stablesdg.app.commands import download

    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(UserError,
                       match="stable-diffusion-v1-5.*unet, vae, text_encoder, tokenizer.*stable-diffusion-v1-5"):
        download.main(["--out", str(tmp_path)])  # HF_HUB_OFFLINE is set
    with pytest.raises(UserError, match="pt_inception-2015-12-05-6726825d.pth"):
        download.main(["--inception", "--out", str(tmp_path)])
    assert not [f for f in tmp_path.rglob("*") if f.is_file() and ".cache" not in f.parts]


def test_download_removes_a_file_with_another_hash(tmp_path, monkeypatch):
    from stablesdg.weights import download

    name = "vae/diffusion_pytorch_model.safetensors"

    def fake(repository, name, local_dir):
        (local_dir / name).parent.mkdir(parents=True)
        (local_dir / name).write_bytes(b"not the VAE")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fake)
    with pytest.raises(UserError, match="sha256"):
        download.fetch_from_hub(name, tmp_path)
    assert not (tmp_path / name).exists()


def test_a_full_adaptation_replaces_all_parameters_and_keeps_the_dtype_of_each_network(toy, tmp_path):
    sd = load_stable_diffusion(toy, dtype=torch.bfloat16)
    networks = {"unet.": sd.unet, "text_encoder.": sd.text.model}
    tensors = {part + k: torch.full(p.shape, 0.5) for part, m in networks.items() for k, p in m.named_parameters()}
    save_file(tensors, tmp_path / "full.safetensors")
    sd.load_full(tmp_path / "full.safetensors")
    for part, dtype in (("unet.", torch.bfloat16), ("text_encoder.", torch.float32)):
        assert all(p.dtype == dtype and (p == 0.5).all() and not p.requires_grad for p in networks[part].parameters())


def test_an_inpainting_unet_is_refused(copy):
    file = copy / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"in_channels": 9}))
    tensors = load_file(copy / UNET_FILE)
    tensors["conv_in.weight"] = torch.zeros(32, 9, 3, 3)
    save_file(tensors, copy / UNET_FILE)
    with pytest.raises(UserError, match="9 input channels"):
        load_stable_diffusion(copy)
