"""LoRA and token embeddings: what moves, what stays, and that other tools read our files and we theirs."""
import json

import pytest
import torch
from conftest import relative_error
from safetensors.torch import load_file, save_file
from test_generation import diffusers_image, max_difference, our_image, source

from stablesdg import lora
from stablesdg.models.stable_diffusion import load_stable_diffusion
from stablesdg.storage.errors import UserError
from stablesdg.storage.tensors import save_tensors
from stablesdg.train import denoising_loss
from stablesdg.weights.adapters import Factors, save_lora

SETTINGS = dict(strength=0.6, steps=6)


def randomise(wrapped, size=0.3):
    """Factors as if trained: B no longer zero."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for layer in wrapped.values():
            layer.B.copy_(torch.randn(layer.B.shape, generator=generator) * size)
    return wrapped


def factors(wrapped):
    return {key: Factors(layer.A, layer.B, layer.alpha) for key, layer in wrapped.items()}


def kohya_prefix(part, name):
    return {"unet": "lora_unet_", "text": "lora_te_"}[part] + name.replace(".", "_")


@pytest.fixture
def sd(toy):
    return load_stable_diffusion(toy)


def test_sd15_has_128_layers_in_the_unet_and_48_in_the_text_encoder_and_273_024_parameters():
    from transformers import CLIPTextConfig, CLIPTextModel

    from stablesdg.models.stable_diffusion import build
    from stablesdg.models.unet import UNet
    from stablesdg.weights.configs import SD15_TEXT

    class Parts:
        unet = build(UNet)

        class text:
            pass

    with torch.device("meta"):
        Parts.text.model = CLIPTextModel(CLIPTextConfig(**SD15_TEXT))
    targets = [(part, layer) for (part, name), layer in lora.linear_layers(Parts).items()
               if (lora.UNET_TARGETS if part == "unet" else lora.TEXT_TARGETS).search(name)]
    assert [part for part, _ in targets].count("unet") == 128
    assert [part for part, _ in targets].count("text") == 48
    assert sum(layer.in_features + layer.out_features for _, layer in targets) == 273_024


@torch.no_grad()
def test_lora_is_identity_at_initialisation_and_after_removal(sd):
    z, context = torch.randn(1, 4, 16, 16), torch.randn(1, 24, 32)
    before, text = sd.unet(z, 3, context), sd.text.encode(["a photo"])
    lora.inject(sd, rank=2)
    assert torch.equal(sd.unet(z, 3, context), before) and torch.equal(sd.text.encode(["a photo"]), text)
    sd.unload_lora()
    randomised = randomise(lora.inject(sd, rank=2))
    assert not torch.allclose(sd.unet(z, 3, context), before)
    with sd.without_adapters():
        assert torch.equal(sd.unet(z, 3, context), before)
    sd.unload_lora()
    assert torch.equal(sd.unet(z, 3, context), before) and len(randomised) == 2 * 4 * 16 + 12


def test_a_is_drawn_with_standard_deviation_1_over_r(sd):
    for rank in (1, 4):
        A = torch.cat([layer.A.flatten() for layer in lora.inject(sd, rank).values()])
        assert abs(float(A.detach().std()) * rank - 1) < 0.03
        sd.unload_lora()


def test_wrapped_layers_equal_merged_weights(sd):
    wrapped = randomise(lora.inject(sd, rank=2, alpha=3.0))
    for (part, _), layer in wrapped.items():
        x = torch.randn(2, 5, layer.base.in_features)
        merged = layer.base.weight + 3.0 / 2 * layer.B @ layer.A
        assert relative_error(layer(x), torch.nn.functional.linear(x, merged, layer.base.bias)) < 1e-4


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_every_A_and_B_gets_a_gradient_and_nothing_else_does(sd, gradient_checkpointing):
    wrapped = randomise(lora.inject(sd, rank=1))
    sd.unet.gradient_checkpointing = gradient_checkpointing
    z_0, eps = torch.randn(2, 2, 4, 16, 16)
    denoising_loss(sd, z_0, sd.text.encode(["A photo of <unknown>"]), torch.tensor([100, 900]), eps).backward()
    for key, layer in wrapped.items():
        assert layer.A.grad.abs().sum() > 0 and layer.B.grad.abs().sum() > 0, key
        assert layer.base.weight.grad is None
    grads = [n for m in (sd.unet, sd.text, sd.vae) for n, p in m.named_parameters() if p.grad is not None]
    assert all(name.endswith((".A", ".B")) for name in grads) and len(grads) == 2 * len(wrapped)


def test_training_v_d_moves_v_d_alone_and_leaves_the_table_bit_identical(sd):
    table = sd.text.model.get_input_embeddings().weight
    before = table.clone()
    v_d = sd.text.set_vectors("<unknown>", sd.text.pretrained_vectors("<unknown>"))
    start = v_d.detach().clone()
    assert len(v_d) == len(sd.text.ids("<unknown>")) > 1
    optimiser = torch.optim.Adam([v_d], lr=5e-4)
    for _ in range(2):
        z_0, eps = torch.randn(2, 1, 4, 16, 16)
        denoising_loss(sd, z_0, sd.text.encode(["A photo of <unknown>"]), torch.tensor([300]), eps).backward()
        optimiser.step()
    assert torch.equal(table, before) and table.grad is None
    assert ((v_d - start).abs().amax(dim=1) > 0).all()  # every vector of the token, not the first alone


def test_each_of_two_learned_tokens_has_vectors_of_its_own(sd):
    prompts = ["<scale> beside <unknown> on steel", "<scale>", "<unknown>"]
    before = sd.text.encode(prompts)
    for token in ("<unknown>", "<scale>"):
        sd.text.set_vectors(token, sd.text.pretrained_vectors(token))
    assert torch.equal(sd.text.encode(prompts), before)
    sd.text.set_vectors("<scale>", 1 + sd.text.pretrained_vectors("<scale>"))
    changed = (sd.text.encode(prompts) - before).abs().amax(dim=(1, 2))
    assert changed[0] > 0 and changed[1] > 0 and changed[2] == 0


def test_a_scale_of_a_half_counts_b_a_half_as_much(sd, toy, tmp_path):
    wrapped = randomise(lora.inject(sd, rank=2))
    save_lora(tmp_path / "whole.safetensors", factors(wrapped), {})
    halved = {key: Factors(layer.A, layer.B / 2, layer.alpha) for key, layer in wrapped.items()}
    save_lora(tmp_path / "half.safetensors", halved, {})
    found = []
    for file, scale in (("whole", 0.5), ("half", 1.0), ("whole", 1.0)):
        other = load_stable_diffusion(toy)
        other.load_lora(tmp_path / f"{file}.safetensors", scale)
        found.append(other.text.encode(["steel"]))
    assert torch.allclose(found[0], found[1], atol=1e-5) and not torch.allclose(found[0], found[2], atol=1e-3)


@pytest.mark.parametrize("token", ["<unknown>", "type", "items", "no. 7"])
def test_v_d_at_its_pretrained_value_changes_no_text_state(sd, token):
    prompts = [f"A photo of {token}", f"{token} on steel", "nothing learned here", f"A photo of {token.upper()}"]
    before = sd.text.encode(prompts)
    sd.text.set_vectors(token, sd.text.pretrained_vectors(token))
    assert torch.equal(sd.text.encode(prompts), before)


def test_a_learned_token_is_replaced_as_a_whole_word_only(sd):
    before = sd.text.encode(["patches", "patchesX"])
    sd.text.set_vectors("patches", torch.ones(2, 32))
    after = sd.text.encode(["patches", "patchesX"])
    assert not torch.allclose(before[0], after[0]) and torch.equal(before[1], after[1])


def test_diffusers_makes_our_image_from_our_lora_and_embedding(toy, tmp_path):
    sd = load_stable_diffusion(toy)
    wrapped = randomise(lora.inject(sd, rank=2, alpha=1.0))
    save_lora(tmp_path / "lora.safetensors", factors(wrapped), {"modelspec.trigger_phrase": "A photo of <unknown>"})
    vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    save_tensors(tmp_path / "embedding.safetensors", {"<unknown>": vectors})

    def prepare(pipe):
        pipe.load_lora_weights(tmp_path, weight_name="lora.safetensors")
        pipe.load_textual_inversion(tmp_path / "embedding.safetensors")

    plain = our_image(load_stable_diffusion(toy), source(), guidance=3.0, **SETTINGS)
    theirs = diffusers_image(toy, source(), prepare, guidance_scale=3.0, strength=0.6, num_inference_steps=6)
    fresh = load_stable_diffusion(toy)
    fresh.load_lora(tmp_path / "lora.safetensors")
    assert fresh.load_embedding(tmp_path / "embedding.safetensors") == "<unknown>"
    ours = our_image(fresh, source(), guidance=3.0, **SETTINGS)
    assert max_difference(ours, theirs) <= 1
    assert max_difference(ours, plain) > 5


@torch.no_grad()
def outputs(sd):
    generator = torch.Generator().manual_seed(9)
    z, context = torch.randn(1, 4, 16, 16, generator=generator), torch.randn(1, 24, 32, generator=generator)
    return sd.unet(z, 400, context), sd.text.encode(["dark spots on steel"])


def same(a, b):
    return all(relative_error(x, y) < 1e-5 for x, y in zip(a, b))


def test_lora_files_of_diffusers_and_peft_load_with_the_same_result(toy, tmp_path):
    """PEFT adapts diffusers' own models; diffusers writes the file, alpha in its header; we read it.

    Factors this large make a chaotic model, whose float32 output depends on the order of sums: float64 it is.
    """
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model

    pipe = StableDiffusionPipeline.from_pretrained(toy, safety_checker=None, torch_dtype=torch.float64)
    options = dict(r=2, lora_alpha=5, init_lora_weights="gaussian")
    configs = {"unet": LoraConfig(target_modules=["to_q", "to_k", "to_v", "to_out.0"], **options),
               "text_encoder": LoraConfig(target_modules=["q_proj", "k_proj", "v_proj", "out_proj"], **options)}
    torch.manual_seed(0)
    for name, config in configs.items():
        inject_adapter_in_model(config, getattr(pipe, name))  # transformers' add_adapter asks for the newest PEFT
        for key, p in getattr(pipe, name).named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(p, std=0.3)
    states = {name: get_peft_model_state_dict(getattr(pipe, name)) for name in configs}
    pipe.save_lora_weights(tmp_path / "diffusers", unet_lora_layers=convert_state_dict_to_diffusers(states["unet"]),
                           text_encoder_lora_layers=convert_state_dict_to_diffusers(states["text_encoder"]),
                           unet_lora_adapter_metadata=configs["unet"].to_dict(),
                           text_encoder_lora_adapter_metadata=configs["text_encoder"].to_dict())
    generator = torch.Generator().manual_seed(9)
    z, context = torch.randn(1, 4, 16, 16, generator=generator), torch.randn(1, 24, 32, generator=generator)
    with torch.no_grad():
        reference = (pipe.unet(z.double(), 400, context.double()).sample,
                     pipe.encode_prompt("dark spots on steel", "cpu", 1, False)[0])

    sd = load_stable_diffusion(toy, dtype=torch.float64)
    plain = outputs(sd)
    sd.load_lora(tmp_path / "diffusers" / "pytorch_lora_weights.safetensors")
    assert same(outputs(sd), reference) and not torch.allclose(outputs(sd)[0], plain[0], rtol=0.01)

    # The folder that PEFT's own save_pretrained writes for one model, alpha in adapter_config.json.
    save_file({f"base_model.model.{k}": v.contiguous() for k, v in states["unet"].items()},
              tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 5}))
    sd.load_lora(tmp_path / "adapter_model.safetensors")
    assert relative_error(outputs(sd)[0], reference[0]) < 1e-5


@pytest.mark.parametrize("spelling", ["kohya", "diffusers, long text names", "diffusers before 0.18", "PEFT"])
def test_every_spelling_of_lora_keys_loads_with_the_same_result(sd, tmp_path, spelling):
    wrapped = randomise(lora.inject(sd, rank=1))
    reference = outputs(sd)
    tensors = {}
    for (part, name), layer in wrapped.items():
        prefix = {"unet": "unet.", "text": "text_encoder."}[part] + name
        if spelling == "kohya":
            down, up = (kohya_prefix(part, name) + f".lora_{d}.weight" for d in ("down", "up"))
        elif spelling == "PEFT":
            down, up = (f"{prefix}.lora_{d}.weight" for d in "AB")
        elif part == "text":
            down, up = (f"{prefix}.lora_linear_layer.{d}.weight" for d in ("down", "up"))
        elif spelling == "diffusers before 0.18":
            stem = prefix.replace(".to_out.0", ".to_out")
            parent, layer_name = stem.rsplit(".", 1)
            down, up = (f"{parent}.processor.{layer_name}_lora.{d}.weight" for d in ("down", "up"))
        else:
            down, up = (f"{prefix}.lora.{d}.weight" for d in ("down", "up"))
        tensors |= {down: layer.A.detach(), up: layer.B.detach()}
    save_file(tensors, tmp_path / "file.safetensors")
    sd.load_lora(tmp_path / "file.safetensors")
    assert len([m for m in sd.unet.modules() if isinstance(m, lora.LoRALinear)]) == 128
    assert same(outputs(sd), reference)


def test_our_file_keeps_rank_and_alpha(sd, tmp_path):
    wrapped = randomise(lora.inject(sd, rank=3, alpha=6.0))
    reference = outputs(sd)
    save_lora(tmp_path / "lora.safetensors", factors(wrapped), {})
    sd.load_lora(tmp_path / "lora.safetensors")
    assert same(outputs(sd), reference)
    assert all(float(v) == 6 for k, v in load_file(tmp_path / "lora.safetensors").items() if k.endswith(".alpha"))


def test_a_lora_that_was_taken_off_is_no_longer_named(sd, tmp_path):
    wrapped = lora.inject(sd, rank=1)
    files = [tmp_path / f"{name}.safetensors" for name in "ab"]
    for file in files:
        save_lora(file, factors(wrapped), {})
        sd.load_lora(file)
        assert sd.adapter_files == [file]
    sd.unload_lora()
    assert sd.adapter_files == []


def test_a_foreign_lora_is_refused_by_name(sd, tmp_path):
    save_file({"lora_unet_somewhere_else.lora_down.weight": torch.ones(1, 4)}, tmp_path / "file.safetensors")
    with pytest.raises(UserError, match="lora_unet_somewhere_else"):
        sd.load_lora(tmp_path / "file.safetensors")


@pytest.mark.parametrize("key, token", [("<unknown>", "<unknown>"), ("emb_params", "rust")])
def test_embedding_files_of_other_tools_load(sd, tmp_path, key, token):
    save_file({key: torch.ones(32)}, tmp_path / "rust.safetensors")
    assert sd.load_embedding(tmp_path / "rust.safetensors") == token
    before = sd.text.encode([f"a {token} b"])
    with torch.no_grad():
        next(iter(sd.text.vectors.values())).add_(1)
    assert not torch.equal(sd.text.encode([f"a {token} b"]), before)


def test_an_embedding_of_another_width_is_refused(sd, tmp_path):
    save_file({"<unknown>": torch.ones(1, 768)}, tmp_path / "e.safetensors")
    with pytest.raises(UserError, match="768"):
        sd.load_embedding(tmp_path / "e.safetensors")


def test_a_unet_compiled_before_injection_computes_with_the_lora(sd):
    """As --compile does, with a backend that traces the graph and its gradient but generates no code."""
    z_0, eps = torch.randn(2, 1, 4, 16, 16)

    def loss_and_gradients():
        loss = denoising_loss(sd, z_0, sd.text.encode(["A photo of <unknown>"]), torch.tensor([300]), eps)
        loss.backward()
        gradients = [layer.A.grad.clone() for layer in wrapped.values()]
        sd.unet.zero_grad()
        sd.text.zero_grad()
        return [loss.detach()[None], *gradients]

    sd.unet.compile(backend="aot_eager")
    wrapped = randomise(lora.inject(sd, rank=1))
    compiled = loss_and_gradients()
    sd.unet._compiled_call_impl = None
    assert all(relative_error(a, b) < 1e-3 for a, b in zip(compiled, loss_and_gradients()))
