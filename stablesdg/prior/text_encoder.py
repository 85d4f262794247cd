"""The third stage: the text encoder learns to name the attributes that a caption tells of.

Stable Diffusion's text encoder, too, came ready from a task of its own and stayed as it was. Trained together with the
UNet from nothing, ours collapsed: within 250 steps all captions had the same context, and no caption was heeded.
"""
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel

from ..text import TextEncoder
from .descriptions import PHOTOGRAPH_ATTRIBUTES
from .loop import Loop, Row, fit
from .pool import Pool
from .tokenizer import make_tokenizer

UNKNOWN = -100  # the label of an attribute that no one could measure: cross_entropy passes over it


@dataclass(frozen=True)
class TextSettings:
    """Sizes named as in text_encoder/config.json."""
    hidden_size: int = 128
    intermediate_size: int = 512
    num_hidden_layers: int = 3
    num_attention_heads: int = 4
    max_position_embeddings: int = 24
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    projection_dim: int = 128


def pretrain_text_encoder(pool: Pool, held_out: Pool, settings: TextSettings, loop: Loop, work: Path,
                          device: torch.device, data: str) -> tuple[TextEncoder, list[Row] | None]:
    """Name the attributes of captions. Returns (frozen TextEncoder, rows of its log or None).

    data  names what the pool holds
    """
    text = make_text_encoder(pool.captions, settings, work / f"tokenizer-{data}-{len(pool)}")
    text = text.requires_grad_(True).to(device)
    heads = nn.ModuleDict({name: nn.Linear(settings.hidden_size, len(values))
                           for name, values in PHOTOGRAPH_ATTRIBUTES.items()}).to(device)

    def name(pool: Pool, indices: Sequence[int]) -> dict[str, tuple[Tensor, Tensor]]:
        """{attribute: (logits (B, values), labels (B,))} of captions, each told from the whole of its context."""
        mean = text.encode([pool.captions[i] for i in indices]).mean(dim=1)
        told = labels(pool, indices)
        return {name: (head(mean), told[name].to(device)) for name, head in heads.items()}

    def loss_at(generator: torch.Generator, progress: float) -> Tensor:
        indices = torch.randint(0, len(pool), (loop.batch_size,), generator=generator).tolist()
        return cross_entropies(name(pool, indices))

    @torch.no_grad()
    def evaluate() -> dict[str, float]:
        """Share of held-out captions whose attribute is named rightly. Many captions leave some of theirs out."""
        return {key: rightly_named(*pair) for key, pair in name(held_out, range(len(held_out))).items()}

    rows = fit("text", nn.ModuleDict({"text": text.model, "heads": heads}), loss_at, loop, work, evaluate,
               {**asdict(settings), "data": data, "captions": len(pool)})
    return text.requires_grad_(False), rows


def make_text_encoder(captions: Sequence[str], settings: TextSettings, folder: Path) -> TextEncoder:
    """A TextEncoder of random weights over a tokenizer made from the captions, which is kept in `folder`."""
    tokenizer: Any = make_tokenizer(captions, folder, settings.max_position_embeddings)
    config = CLIPTextConfig(**asdict(settings), vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id,
                            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return TextEncoder(tokenizer, CLIPTextModel(config))


def labels(pool: Pool, indices: Sequence[int]) -> dict[str, Tensor]:
    """{attribute: (B,) number of its value, or UNKNOWN} of images of the pool."""
    def number(name: str, value: str | None) -> int:
        return UNKNOWN if value is None else PHOTOGRAPH_ATTRIBUTES[name].index(value)

    return {name: torch.tensor([number(name, pool.attributes[i].get(name)) for i in indices])
            for name in PHOTOGRAPH_ATTRIBUTES}


def cross_entropies(named: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
    """The sum over attributes of the mean cross-entropy, over those images of which the attribute is known."""
    losses = [F.cross_entropy(logits, known, ignore_index=UNKNOWN, reduction="sum")
              / (known != UNKNOWN).sum().clamp(min=1) for logits, known in named.values()]
    return torch.stack(losses).sum()


def rightly_named(logits: Tensor, known: Tensor) -> float:
    """The share of images whose attribute is named rightly, of those of which it is known."""
    return float((logits.argmax(1) == known)[known != UNKNOWN].float().mean())
