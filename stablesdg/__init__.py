"""StableSDG: expand a small set of defect images with a text-to-image diffusion prior.

Reading order, from the equations outwards:

    diffusion     the noise schedule, timesteps and sampler steps, as pure functions
    attention     softmax attention
    blocks        residual block and resampling
    unet          eps_theta(z_t, t, context)
    vae           E and D
    text          the CLIP text encoder, with learned vectors v_d at a token's place
    lora          W0 + BA
    generate      image-oriented generation: the one denoising loop
    train         the loss and the loop of every adaptation
    load          weights/ -> models, strictly
    names         the keys of other files, renamed
    data, split   images in and out; which of them may be trained on
    inception     the feature network of FID
    metrics       the Frechet distance
    classifiers   five networks that recognise defects
    stage         what surrounds the loop: opening data and model, writing results
    report        pictures: grids of images, loss curves
    run           run folders and what all command lines share
    files         safe writing, hashes, errors in one sentence
    steel         a procedural steel data set, for the demo and the tests
    download      fetch the official weights
"""
