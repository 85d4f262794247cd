"""DreamBooth (Ruiz et al. 2023): all parameters adapt to a rare token, and the prior must keep the class around it.

    L          eq. (1) on the training images under "A photo of a sks steel surface"
    L_prior    eq. (1) on images that the unadapted prior drew under "A photo of a steel surface"
    loss       L + lambda L_prior, lambda = 1 (section 3.2)

Where we leave the paper: UNet and text encoder of Stable Diffusion learn, not those of Imagen, and there is no second
network that enlarges images. The class images are 200 unless you ask for more or for none. A category has hundreds of
images and not five, so it takes more than the paper's 1,000 steps until each has been seen as often as there.
"""
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..models.vae import Posterior
from ..train import batch_indices
from .common import Learning, Phase, Rival
from .textual_inversion import Prompted

PROMPT, CLASS_PROMPT = "A photo of a sks steel surface", "A photo of a steel surface"
CLASS_IMAGES = 200
LEARNING_RATE = 5e-6  # Adam's, the paper's for Stable Diffusion
BATCH_SIZE = 4  # training images a step, and as many class images
LAMBDA = 1.0
CLASS_SEED = 2_000_000_000  # of the first class image: far from those of samples


def dreambooth(prompted: Prompted, class_posteriors: Sequence[Posterior], class_prompt: str = CLASS_PROMPT,
               lr: float = LEARNING_RATE) -> Rival:
    """All parameters of UNet and text encoder.

    class_posteriors  of images of the class prompt, for L_prior; none leaves it out
    """
    networks = nn.ModuleDict({"unet": prompted.sd.unet.requires_grad_(),
                              "text_encoder": prompted.sd.text.model.requires_grad_()})

    def loss(indices: list[int], generator: torch.Generator) -> Tensor:
        total = prompted.loss(prompted.posteriors, indices, prompted.prompt, generator)
        if class_posteriors:
            start = int(torch.randint(2**31, (), generator=generator))
            others = batch_indices(0, len(indices), len(class_posteriors), start)  # without repetition where possible
            total = total + LAMBDA * prompted.loss(class_posteriors, others, class_prompt, generator)
        return total

    return Rival(nn.ModuleDict({"adapted": networks}), {"adapted": Learning(lr)}, [Phase("loss", "adapted", loss)],
                 prompted.draw)

