"""The score line of fid.py: a distance with everything that is needed to read it.

A Frechet distance of a few hundred images is mostly bias: two halves of one real set are tens of points apart. So each
comes with its interval, with the distance of real images from real ones at the same number, and with measures that say
what kind of difference it is.
"""
import hashlib
from pathlib import Path

import numpy as np
import torch

from ..storage.files import atomic_path, sha256
from .metrics import (
    frechet_distance,
    frechet_infinity,
    gaussian,
    kernel_distance,
    neighbour_scores,
)

CACHE = Path("runs/features")
RESAMPLES, DRAWS = 100, 10


def network_key(name, model):
    """A name for the cache that changes with the network's weights."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode() + value.cpu().contiguous().numpy().tobytes())
    return f"{name}-{digest.hexdigest()[:12]}"


def cached_features(files, extract, key, cache=CACHE):
    """Features (N, d) of image files; what was computed before for a file of the same content is read, not computed.

    extract  a function of a list of files that yields batches (B, d)
    key      the network and all that its features depend on beside the file
    """
    paths = [Path(cache) / key / f"{sha256(file)}.npy" for file in files]
    missing = {path: file for path, file in zip(paths, files) if not path.is_file()}
    done = iter(missing)
    for batch in extract(list(missing.values())) if missing else ():
        for feature in batch.cpu().float().numpy():
            with atomic_path(next(done)) as temporary:
                np.save(temporary, feature, allow_pickle=False)
    return torch.from_numpy(np.stack([np.load(path, allow_pickle=False) for path in paths]))


def bootstrap_sd(reference, generated, rng):
    """Standard deviation of the distance from `reference`, as `gaussian` makes it, over resamples of generated (N, d)."""
    n, d = generated.shape
    resampled = [frechet_distance(reference, generated[rng.integers(0, n, n)])
                 for _ in range(RESAMPLES if n < d else RESAMPLES // 5)]
    return float(np.std(resampled))


def score(real, generated, seed=0):
    """All measures of generated against real features, (M, d) and (N, d).

    fid             the Frechet distance of all against all
    interval        fid +- 1.96 standard deviations of a bootstrap of the generated images (a resample repeats images, which
                    shifts its distance, but hardly its spread)
    same_n          images on either side of the next two, means over random draws
    fid_same_n      generated against real
    floor           real against other real: what a perfect generator would score
    fid_infinity    extrapolated to infinitely many generated images
    kid, kid_sd     and precision, recall, density, coverage: see metrics.py
    """
    rng = np.random.default_rng(seed)
    real, generated = torch.as_tensor(real), torch.as_tensor(generated)
    reference = gaussian(real)
    fid = frechet_distance(reference, generated)
    result = {"fid": fid, "n_real": len(real), "n_generated": len(generated)}
    spread = 1.96 * bootstrap_sd(reference, generated, rng)
    result["interval"] = [max(0.0, fid - spread), fid + spread]

    n = min(len(real) // 2, len(generated))
    if n >= 2:
        pairs = {"fid_same_n": [], "floor": []}
        for _ in range(DRAWS):
            order = torch.from_numpy(rng.permutation(len(real)))
            chosen = torch.from_numpy(rng.permutation(len(generated))[:n])
            pairs["fid_same_n"].append(frechet_distance(real[order[:n]], generated[chosen]))
            pairs["floor"].append(frechet_distance(real[order[:n]], real[order[n:2 * n]]))
        result |= {"same_n": n, **{name: float(np.mean(values)) for name, values in pairs.items()},
                   "floor_sd": float(np.std(pairs["floor"]))}
    if len(generated) >= 8:
        result["fid_infinity"] = frechet_infinity(real, generated, seed)
    if min(len(real), len(generated)) >= 4:
        result["kid"], result["kid_sd"] = kernel_distance(real, generated, seed=seed)
    if min(len(real), len(generated)) >= 3:
        result |= neighbour_scores(real, generated)
    return result


def lines(result, name):
    """The score for a person, on a few short lines."""
    low, high = result["interval"]
    text = [f"{name} {result['fid']:.3f} [{low:.3f}, {high:.3f}] (N real {result['n_real']}, "
            f"N generated {result['n_generated']})"]
    if "floor" in result:
        text.append(f"at N = {result['same_n']} on both sides {result['fid_same_n']:.3f}; real against real "
                    f"{result['floor']:.3f} +- {result['floor_sd']:.3f}, the floor")
    more = []
    if "fid_infinity" in result:
        more.append(f"extrapolated to infinite N {result['fid_infinity']:.3f}")
    if "kid" in result:
        more.append(f"KID {result['kid']:.5f} +- {result['kid_sd']:.5f}")
    if more:
        text.append("; ".join(more))
    if "precision" in result:
        text.append(", ".join(f"{key} {result[key]:.3f}" for key in ("precision", "recall", "density", "coverage")))
    return "\n".join(text)
