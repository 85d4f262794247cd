"""Make weights/nano from nothing: a prior of Stable Diffusion's architecture, small enough for a laptop's CPU.

    python pretrain.py                     # -> weights/nano, after hours; stop it at any time and start it again

Five stages, the first four of them resumable, on procedural textures with captions (stablesdg/textures.py): the VAE; a
feature network for `fid.py --features nano`; the text encoder, which learns what captions say; the UNet, on the VAE's
latents and the frozen text encoder's contexts; and writing the folder in the official layout. Checkpoints and learning
curves go to runs/pretrain.
"""
import hashlib
from pathlib import Path

from stablesdg.app.command_line import add_common, parser, positive, run_main
from stablesdg.app.devices import pick_device, pick_dtype
from stablesdg.storage.errors import UserError

SIDE, LARGE = 128, 200  # pixels: most training images, and a part of the UNet's
HELD_OUT_IMAGES = 96

VAE_SIZES = dict(latent_channels=4, block_out_channels=[24, 48], layers_per_block=1, norm_num_groups=8,
                 mid_block_add_attention=False)
CROP = 64  # pixels: side of the VAE's training images
KL_WEIGHT, JITTER = 3e-3, 0.2  # JITTER: most noise added to the latents, in their own standard deviation

FEATURE_CROP, FEATURE_BATCH = 96, 32

UNET_SIZES = dict(in_channels=4, out_channels=4, block_out_channels=[24, 48, 96, 160], layers_per_block=1,
                  attention_head_dim=4, cross_attention_dim=128, norm_num_groups=8, sample_size=SIDE // 2,
                  down_block_types=["DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
                  up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"])
TEXT_SIZES = dict(hidden_size=128, intermediate_size=512, num_hidden_layers=3, num_attention_heads=4,
                  max_position_embeddings=24, hidden_act="quick_gelu", layer_norm_eps=1e-5, projection_dim=128)
# Stable Diffusion's schedule, noisier at its end (0.02, not 0.012): latents at half the image's resolution are so redundant
# that the brightness of an image would shine through all the noise of the last step, and pure noise would always come
# out gray.
SCHEDULER = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.02, beta_schedule="scaled_linear",
                 prediction_type="epsilon", steps_offset=1, clip_sample=False, set_alpha_to_one=False)
TEXT_BATCH = 64
CAPTION_DROPOUT, BATCH = 0.1, 16
SMALL_SHARE = 0.5  # of the UNet's steps, the first, on crops of half the side: four times as many images an hour
LARGE_SHARE = 0.25  # of the steps after that, on textures of LARGE pixels

# What adapting this prior wants different from the paper, which speaks of Stable Diffusion.
RECIPE = {"all": {"resolution": "native", "crop": SIDE}, "train_ti": {"lr": 5e-3}, "train_lora": {"lr": 2e-3},
          "train_full": {"lr": 1e-4}, "sample": {"strength": 0.4, "guidance": 1.5},
          "tune": {"guidances": [1.0, 1.5, 2.0, 3.0, 5.0]}}


def parse(argv=None):
    p = parser(__doc__.splitlines()[0], "python pretrain.py --out weights/nano")
    p.add_argument("--out", type=Path, default=Path("weights/nano"), help="folder of the finished prior")
    p.add_argument("--work", type=Path, default=Path("runs/pretrain"), help="checkpoints, drawn textures, learning curves")
    p.add_argument("--textures", type=positive, default=20000, help="training images to draw")
    p.add_argument("--vae-steps", type=positive, default=9000, help="of 4 crops")
    p.add_argument("--feature-steps", type=positive, default=2500, help="of 32 crops")
    p.add_argument("--text-steps", type=positive, default=1500, help="of 64 captions")
    p.add_argument("--unet-steps", type=positive, default=6000, help="of 16 images")
    p.add_argument("--every", type=positive, default=250, help="steps between checkpoints")
    p.add_argument("--stop-after", choices=["vae", "features", "text", "unet"], help="leave the later stages for another call")
    add_common(p)
    return p.parse_args(argv)


def main(argv=None):
    args = parse(argv)

    import torch

    from stablesdg.prior.model_card import command
    from stablesdg.prior.pretraining import HELD_OUT, draw_pool

    device = pick_device(args.device)
    args.dtype = pick_dtype(args.dtype, device)
    card = args.out / "README.md"
    if args.out.exists() and not (card.is_file() and command(args) in card.read_text(encoding="utf-8")):
        raise UserError(f"{args.out} holds something else than a prior of these settings, which would be lost: pass another "
                        "--out.")
    if args.dtype == torch.float16:
        raise UserError("--dtype float16 is not enough to pretrain with: take bfloat16 or float32.")
    torch.manual_seed(args.seed)  # the weights that each stage starts from
    args.work.mkdir(parents=True, exist_ok=True)
    pool = draw_pool(args.work, args.textures, SIDE, args.seed)
    held_out = draw_pool(args.work, HELD_OUT_IMAGES, SIDE, args.seed, first=HELD_OUT)
    stages = {"vae": pretrain_vae, "features": pretrain_features, "text": pretrain_text, "unet": pretrain_unet}
    done = {}  # stage -> (model, rows of its log)
    for stage, pretrain in stages.items():
        done[stage] = pretrain(args, device, pool, held_out, done)
        if stage == args.stop_after:
            return
    write_prior(args, done)


# ---- the VAE ----------------------------------------------------------------------------------------------------


def pretrain_vae(args, device, pool, held_out, done):
    """Reconstruct crops through noisy latents. Returns (VAE, rows of its log)."""
    import torch

    from stablesdg.models.vae import VAE, sample_posterior
    from stablesdg.prior.pretraining import fit, psnr, random_crops, reconstruction_loss

    vae, images = VAE(**VAE_SIZES, scaling_factor=1.0).to(device), pool[0]
    shown = held_out[0].to(device) / 127.5 - 1

    def loss_at(generator, progress):
        x = random_crops(images, 4, CROP, generator).to(device) / 127.5 - 1
        mean, logvar = vae.encode(x)
        z = sample_posterior(mean, logvar, torch.randn(mean.shape, generator=generator).to(device))
        jitter = JITTER * torch.rand(len(z), 1, 1, 1, generator=generator) * torch.randn(z.shape, generator=generator)
        y = vae.decode(z + mean.detach().std() * jitter.to(device))
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar)
        return reconstruction_loss(y, x) + KL_WEIGHT * kl.mean()

    @torch.no_grad()
    def evaluate():
        """PSNR of held-out textures, plain and with noise of 0.1 standard deviations in their latents."""
        mean, _ = vae.encode(shown)
        noise = 0.1 * mean.std() * torch.randn(mean.shape, generator=torch.Generator().manual_seed(0)).to(device)
        return {name: psnr(vae.decode(z), shown) for name, z in (("psnr", mean), ("psnr_noise_0.1", mean + noise))}

    rows = fit("vae", vae, loss_at, steps=args.vae_steps, lr=1e-3, decay=0.998, every=args.every,
               evaluate=evaluate, work=args.work, seed=args.seed, dtype=args.dtype,
               settings=dict(VAE_SIZES, textures=args.textures, crop=CROP, kl=KL_WEIGHT, jitter=JITTER))
    return vae, rows


# ---- the feature network ----------------------------------------------------------------------------------------


def pretrain_features(args, device, pool, held_out, done):
    """Name attributes and degradations. Returns (FeatureNetwork, rows of its log)."""
    import torch
    from torch.nn import functional as F

    from stablesdg.evaluate.features import DEGRADATIONS, FeatureNetwork, crop, degrade
    from stablesdg.prior.pretraining import fit
    from stablesdg.prior.textures import ATTRIBUTES

    def batch(pool, indices, generator, side=None):
        """(images (B, 3, H, W) in [0, 1], or random crops of `side` pixels; {attribute: (B,)}; degradations (B, 3))"""
        images, _, attributes = pool
        corners = torch.rand(len(indices), 2, generator=generator)
        strengths = torch.rand(len(indices), 3, generator=generator)
        strengths = torch.where(torch.rand(len(indices), 3, generator=generator) < 0.3, strengths, 0)
        x = torch.stack([degrade(crop(images[i], corner, side), strength.tolist(), generator)
                         for i, corner, strength in zip(indices, corners, strengths)])
        labels = {name: torch.tensor([values.index(attributes[i][name]) for i in indices]).to(device)
                  for name, values in ATTRIBUTES.items()}
        return x.to(device), labels, strengths.to(device)

    network = FeatureNetwork().to(device)
    x_held_out, *y_held_out = batch(held_out, range(len(held_out[0])), torch.Generator().manual_seed(0))

    def loss_at(generator, progress):
        indices = torch.randint(0, len(pool[0]), (FEATURE_BATCH,), generator=generator).tolist()
        x, labels, strengths = batch(pool, indices, generator, FEATURE_CROP)
        told = network.train().name(network(x))
        return (sum(F.cross_entropy(told[name], labels[name]) for name in ATTRIBUTES)
                + 10 * F.mse_loss(told["degradation"], strengths))

    @torch.no_grad()
    def evaluate():
        """Share of held-out textures whose attribute is named rightly; correlation with how they were degraded."""
        told, (labels, strengths) = network.eval().name(network(x_held_out)), y_held_out
        return {**{name: (told[name].argmax(1) == labels[name]).float().mean() for name in ATTRIBUTES},
                **{kind: torch.corrcoef(torch.stack([told["degradation"][:, k], strengths[:, k]]))[0, 1]
                   for k, kind in enumerate(DEGRADATIONS)}}

    rows = fit("features", network, loss_at, steps=args.feature_steps, lr=2e-3, decay=0.995,
               every=args.every, evaluate=evaluate, work=args.work, seed=args.seed, dtype=args.dtype,
               settings=dict(textures=args.textures, crop=FEATURE_CROP, batch=FEATURE_BATCH))
    return network.eval(), rows


# ---- text encoder and UNet --------------------------------------------------------------------------------------


def pretrain_text(args, device, pool, held_out, done):
    """Name the attributes that a caption tells of. Returns (TextEncoder, rows of its log).

    Stable Diffusion's text encoder, too, came ready from a task of its own and stayed as it was. Trained together with
    the UNet from nothing, it collapsed: within 250 steps all captions had the same context, and no caption was heeded.
    """
    import torch
    from torch.nn import functional as F

    from stablesdg.prior.pretraining import fit
    from stablesdg.prior.textures import ATTRIBUTES
    from stablesdg.weights.export import make_text_encoder

    captions = hashlib.sha256("\n".join(pool[1]).encode()).hexdigest()[:16]
    text = make_text_encoder(pool[1], TEXT_SIZES, args.work / f"tokenizer-{captions}").requires_grad_(True).to(device)
    heads = torch.nn.ModuleDict({name: torch.nn.Linear(TEXT_SIZES["hidden_size"], len(values))
                                 for name, values in ATTRIBUTES.items()}).to(device)

    def name(pool, indices):
        """{attribute: (logits (B, values), labels (B,))} of captions, each told from the whole of its context."""
        mean = text.encode([pool[1][i] for i in indices]).mean(dim=1)
        return {name: (heads[name](mean), torch.tensor([values.index(pool[2][i][name]) for i in indices]).to(device))
                for name, values in ATTRIBUTES.items()}

    def loss_at(generator, progress):
        indices = torch.randint(0, len(pool[1]), (TEXT_BATCH,), generator=generator).tolist()
        return sum(F.cross_entropy(logits, labels) for logits, labels in name(pool, indices).values())

    @torch.no_grad()
    def evaluate():
        """Share of held-out captions whose attribute is named rightly; many captions leave some of theirs out."""
        return {key: (logits.argmax(1) == labels).float().mean()
                for key, (logits, labels) in name(held_out, range(len(held_out[1]))).items()}

    rows = fit("text", torch.nn.ModuleDict({"text": text.model, "heads": heads}), loss_at, steps=args.text_steps, lr=1e-3,
               decay=0.99, every=args.every, evaluate=evaluate, work=args.work, seed=args.seed, dtype=args.dtype,
               settings=dict(TEXT_SIZES, textures=args.textures, captions=captions, batch=TEXT_BATCH))
    return text.requires_grad_(False), rows


def pretrain_unet(args, device, pool, held_out, done):
    """Eq. (1) on captioned textures, from nothing, weighted by 1 / sqrt(alpha_bar_t). Returns (StableDiffusion, log).

    Unweighted, nearly all of the loss lies at small t, where the image itself shows through and no caption is needed.
    """
    import torch

    from stablesdg.diffusion import add_noise
    from stablesdg.models.stable_diffusion import StableDiffusion
    from stablesdg.models.unet import UNet
    from stablesdg.models.vae import sample_posterior
    from stablesdg.prior.pretraining import digest, draw_pool, encode_pool, fit
    from stablesdg.train import denoising_loss, generator_for

    vae, text = done["vae"][0], done["text"][0]
    sd = StableDiffusion(text, UNet(**UNET_SIZES), vae, SCHEDULER, args.out, {}, device, torch.float32)
    sd.unet.requires_grad_(True)

    large = draw_pool(args.work, args.textures // 5, LARGE, args.seed, first=args.textures)
    pools = [(encode_pool(args.work, vae, images), captions, batch)
             for (images, captions, _), batch in ((pool, BATCH), (large, BATCH * SIDE**2 // LARGE**2))]
    vae.scaling_factor = 1 / float(pools[0][0]["mean"][:1000].float().std())

    def draw_batch(latents, indices, generator, small=False):
        """(z_0, eps) of the textures `indices`, or of crops of half their side."""
        mean, logvar = (latents[key][indices].float() for key in ("mean", "logvar"))
        if small:
            side = mean.shape[2] // 2
            top, left = torch.randint(0, side + 1, (2,), generator=generator).tolist()
            mean, logvar = (x[:, :, top:top + side, left:left + side] for x in (mean, logvar))
        z_0 = sample_posterior(mean, logvar, torch.randn(mean.shape, generator=generator))
        return vae.scaling_factor * z_0.to(device), torch.randn(mean.shape, generator=generator).to(device)

    def loss_at(generator, progress):
        small = progress < SMALL_SHARE
        latents, captions, B = pools[float(torch.rand((), generator=generator)) < LARGE_SHARE and not small]
        indices = torch.randint(0, len(captions), (B,), generator=generator)
        kept = torch.rand(B, generator=generator) >= CAPTION_DROPOUT
        prompts = [captions[i] if keep else "" for i, keep in zip(indices, kept)]
        t = ((torch.arange(B) + torch.rand(B, generator=generator)) / B * len(sd.alpha_bar)).long()  # one from each B-th
        z_0, eps = draw_batch(latents, indices, generator, small)
        eps_hat = sd.unet(add_noise(z_0, eps, sd.alpha_bar[t]), t.to(device), sd.text.encode(prompts))
        weight = sd.alpha_bar[t].rsqrt().to(z_0)
        return (weight * (eps_hat - eps).square().mean(dim=(1, 2, 3))).mean()

    held_out_latents = encode_pool(args.work, vae, held_out[0])

    @torch.no_grad()
    def evaluate():
        """Eq. (1) on 32 held-out textures: the mean over ten timesteps, each of them, and the mean without captions."""
        indices, losses = torch.arange(min(32, len(held_out[1]))), {"with": {}, "without": {}}
        for t in range(50, 1000, 100):
            z_0, eps = draw_batch(held_out_latents, indices, generator_for(args.seed, t))
            for kind, prompts in (("with", held_out[1][:len(indices)]), ("without", [""])):
                losses[kind][t] = float(denoising_loss(sd, z_0, sd.text.encode(prompts), torch.full_like(indices, t), eps))
        return {**{f"held_out_{kind}_caption": sum(x.values()) / 10 for kind, x in losses.items()},
                **{f"t{t}": loss for t, loss in losses["with"].items()}}

    rows = fit("unet", sd.unet, loss_at, steps=args.unet_steps, lr=8e-4, decay=0.999, every=args.every,
               evaluate=evaluate, work=args.work, seed=args.seed, dtype=args.dtype,
               settings=dict(**UNET_SIZES, **TEXT_SIZES, scheduler=SCHEDULER, textures=args.textures, batch=BATCH,
                             small=SMALL_SHARE, large=LARGE_SHARE, weight="1 / sqrt(alpha_bar_t)",
                             scaling_factor=vae.scaling_factor, text=digest(*text.model.state_dict().values())))
    return sd, rows


# ---- the folder -------------------------------------------------------------------------------------------------


def write_prior(args, done):
    """weights/nano: the official layout, features.safetensors, recipe.json and a model card; nothing until all is there."""
    import shutil

    from stablesdg.prior.model_card import model_card
    from stablesdg.storage.files import write_json
    from stablesdg.storage.tensors import save_tensors
    from stablesdg.weights.export import write_folder

    (features, _), (sd, _) = done["features"], done["unet"]
    partial = args.out.with_name(args.out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    write_folder(sd, partial, UNET_SIZES, VAE_SIZES, SCHEDULER)
    save_tensors(partial / "features.safetensors",
                 {name: value.half() if value.is_floating_point() else value for name, value in features.state_dict().items()})
    write_json(partial / "recipe.json", RECIPE)
    (partial / "README.md").write_text(model_card(args, done), encoding="utf-8")
    shutil.rmtree(args.out, ignore_errors=True)
    partial.rename(args.out)
    size = sum(file.stat().st_size for file in args.out.rglob("*") if file.is_file())
    print(f"wrote {args.out} ({size / 2**20:.1f} MiB)")


if __name__ == "__main__":
    run_main(main)
