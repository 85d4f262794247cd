"""The models of Stable Diffusion v1.5. Attribute names are the keys of the official files.

    attention         softmax attention
    convolution       a convolution that is quick on tiny maps
    blocks            residual block, halving, doubling
    unet              eps_theta(z_t, t, context)
    vae               E and D
    encode            image files to latents
    average           the moving average of a model's weights
    stable_diffusion  the class that holds them, with text encoder, noise schedule and adapters, and its loader
"""
