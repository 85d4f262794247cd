"""Textual Inversion (Gal et al. 2022): the vectors v_d of one token are learned, and nothing else.

It is the paper's first stage alone, eq. (3). With the same settings it learns the same v_d as train_ti.py. Its images
come from noise and the prompt, where StableSDG starts from real images. Where we leave Gal et al.: the token is
`<unknown>` with the vectors of all its pieces, one prompt serves all images, and Adam has no weight decay, as in the
StableSDG paper. docs/paper.md says more.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..generation import generate
from ..models.stable_diffusion import StableDiffusion
from ..models.vae import Posterior
from ..train import denoising_loss, draw_batch
from .common import Learning, Phase, Rival

LEARNING_RATE = 5e-4  # Adam's, the StableSDG paper's
BATCH_SIZE = 4
STEPS = 50  # of drawing, by DDIM


@dataclass(frozen=True)
class Prompted:
    """A prior that learns a category under a prompt, and how it then draws images from noise."""
    sd: StableDiffusion
    posteriors: Sequence[Posterior]  # of the training images
    crop: int | None  # side of random crops in latent positions, or None for whole images
    prompt: str  # y
    guidance: float  # w of eq. (2)
    steps: int = STEPS  # of drawing

    def loss(self, posteriors: Sequence[Posterior], indices: list[int], prompt: str,
             generator: torch.Generator) -> Tensor:
        """Eq. (1) of some images, each with a timestep and noise of its own."""
        t = torch.randint(0, len(self.sd.alpha_bar), (len(indices),), generator=generator)
        z_0, eps = draw_batch(self.sd, posteriors, indices, generator, self.crop)
        return denoising_loss(self.sd, z_0, self.sd.text.encode([prompt]), t, eps)

    @property
    def drawn_size(self) -> tuple[int, int]:
        """(h, w) of the latents of an image that is drawn: the least height and width of the training images."""
        h, w = (min(posterior.mean.shape[axis] for posterior in self.posteriors) for axis in (1, 2))
        return h, w

    def draw(self, seeds: Sequence[int]) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] from noise alone, all of `drawn_size`.

        Image i depends on seeds[i] alone.
        """
        blank = torch.zeros(len(seeds), len(self.posteriors[0].mean), *self.drawn_size)  # only its size counts
        return generate(self.sd, Posterior(blank, blank), seeds, self.prompt, guidance=self.guidance, steps=self.steps,
                        from_noise=True)


def textual_inversion(prompted: Prompted, token: str, lr: float = LEARNING_RATE) -> Rival:
    """v_d of `token`, a part of the prompt, starting from the pretrained vectors of its pieces."""
    text = prompted.sd.text
    text.set_vectors(token, text.pretrained_vectors(token))

    def loss(indices: list[int], generator: torch.Generator) -> Tensor:
        return prompted.loss(prompted.posteriors, indices, prompted.prompt, generator)

    return Rival(nn.ModuleDict({"vectors": text.vectors}), {"vectors": Learning(lr)}, [Phase("loss", "vectors", loss)],
                 prompted.draw)
