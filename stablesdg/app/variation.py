"""What an image draws for itself: its strength, and noise on v_d. Both follow from its seed."""
import contextlib
from collections.abc import Iterator

import numpy as np
import torch

from ..models.stable_diffusion import StableDiffusion

STRENGTH_STREAM, EMBEDDING_STREAM = 31, 32  # of random numbers: apart from that of the noise, which has the same seed


def strength_of(seed: int, low: float, high: float | None) -> float:
    """s of the image with this seed, even between low and high, to three digits; low if there is no high."""
    if high is None:
        return low
    return round(float(np.random.default_rng([STRENGTH_STREAM, seed]).uniform(low, high)), 3)


@contextlib.contextmanager
def noisy_embedding(sd: StableDiffusion, sigma: float, seed: int) -> Iterator[None]:
    """Within the block, v_d has Gaussian noise of sigma times its own deviation. Afterwards it is as before."""
    before = {token: v_d.detach().clone() for token, v_d in sd.text.vectors.items()}
    rng = np.random.default_rng([EMBEDDING_STREAM, seed])
    try:
        for v_d in sd.text.vectors.values() if sigma else ():
            noise = torch.from_numpy(rng.standard_normal(tuple(v_d.shape))).to(v_d)
            v_d.data += sigma * v_d.std() * noise
        yield
    finally:
        for token, v_d in sd.text.vectors.items():
            v_d.data = before[token]
