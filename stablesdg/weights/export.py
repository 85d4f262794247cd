"""Writing a model in the official diffusers folder layout, with a tokenizer of CLIP's format made from captions."""
from collections import Counter
from pathlib import Path

from ..storage.files import read_json, write_json
from ..storage.tensors import save_tensors

START, END = "<|startoftext|>", "<|endoftext|>"
WORD = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # what CLIP's tokenizer takes for one word


def make_tokenizer(captions, folder, length):
    """CLIPTokenizer with the merges that these captions teach; its files are kept in `folder`.

    Numbered as CLIP's: 256 bytes, the same at the end of a word, merges, start, end.
    """
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    folder = Path(folder)
    if not (folder / "tokenizer_config.json").is_file():
        bytes_, merges = sorted(pre_tokenizers.ByteLevel.alphabet()), learn_merges(captions)
        tokens = [*bytes_, *(b + "</w>" for b in bytes_), *dict.fromkeys(a + b for a, b in merges), START, END]
        write_json(folder / "vocab.json", {token: number for number, token in enumerate(tokens)})
        (folder / "merges.txt").write_text("".join(f"{a} {b}\n" for a, b in [("#version:", "0.2"), *merges]), encoding="utf-8")
        write_json(folder / "tokenizer_config.json", {
            "tokenizer_class": "CLIPTokenizer", "model_max_length": length, "do_lower_case": True, "bos_token": START,
            "eos_token": END, "unk_token": END, "pad_token": END, "errors": "replace", "add_prefix_space": False})
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def learn_merges(captions):
    """[(left, right)] of byte pair encoding: the commonest pair of neighbours becomes one symbol, until none occurs twice.

    Sennrich et al. 2016. Of equally common pairs the first in the alphabet is taken, so that the captions alone decide;
    the `tokenizers` library's trainer breaks such ties by chance.
    """
    from tokenizers import Regex, pre_tokenizers

    split = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True),
                                     pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    counts = Counter(word for caption in captions for word, _ in split.pre_tokenize_str(caption.lower()))
    words = [([*word[:-1], word[-1] + "</w>"], count) for word, count in counts.items()]
    merges = []
    while True:
        pairs = Counter()
        for symbols, count in words:
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None or pairs[best] < 2:
            return merges
        merges.append(best)
        for symbols, _ in words:
            i = 0
            while i < len(symbols) - 1:
                if tuple(symbols[i:i + 2]) == best:
                    symbols[i:i + 2] = ["".join(best)]
                i += 1


def make_text_encoder(captions, sizes, folder):
    """A TextEncoder of random weights over a tokenizer made from the captions."""
    from transformers import CLIPTextConfig, CLIPTextModel

    from ..text import TextEncoder

    tokenizer = make_tokenizer(captions, folder, sizes["max_position_embeddings"])
    config = CLIPTextConfig(**sizes, vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id,
                            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return TextEncoder(tokenizer, CLIPTextModel(config))


def write_folder(sd, folder, unet_sizes, vae_sizes, scheduler):
    """Write sd's parts in float16 as diffusers' StableDiffusionPipeline.from_pretrained(folder) reads them."""
    import shutil

    folder = Path(folder)
    levels = len(vae_sizes["block_out_channels"])
    write_json(folder / "unet" / "config.json", {"_class_name": "UNet2DConditionModel", **unet_sizes})
    write_json(folder / "vae" / "config.json", {
        "_class_name": "AutoencoderKL", "in_channels": 3, "out_channels": 3, **vae_sizes, "sample_size": unet_sizes["sample_size"]
        * 2 ** (levels - 1), "scaling_factor": sd.vae.scaling_factor, "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels})
    for part, model in (("unet", sd.unet), ("vae", sd.vae)):
        save_half(model, folder / part)
    save_half_text(sd.text.model, folder / "text_encoder")
    shutil.copytree(sd.text.tokenizer.name_or_path, folder / "tokenizer")
    write_json(folder / "scheduler" / "scheduler_config.json", {"_class_name": "DDIMScheduler", **scheduler})
    write_json(folder / "model_index.json", {
        "_class_name": "StableDiffusionPipeline", "feature_extractor": [None, None], "safety_checker": [None, None],
        "requires_safety_checker": False, "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]})


def save_half(model, folder):
    """diffusion_pytorch_model.safetensors of a UNet or VAE in float16."""
    save_tensors(Path(folder) / "diffusion_pytorch_model.safetensors",
                 {name: value.half() for name, value in model.state_dict().items()})


def save_half_text(model, folder):
    """config.json and model.safetensors of a CLIPTextModel in float16, which stays as it is.

    The configuration goes on saying float32, as the official one does: transformers computes in what it says, and
    diffusers' pipelines in that of the text encoder.
    """
    import copy

    copy.deepcopy(model).half().save_pretrained(folder)
    config = Path(folder) / "config.json"
    write_json(config, {**read_json(config), "dtype": "float32"})
    (Path(folder) / "model.safetensors").chmod(0o644)  # written with its owner's rights alone
