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
    data          images in and out
    overlap       which images show the same piece of surface
    split         which images may be trained on
    inception     the feature network of FID
    features      a small feature network that needs no download
    metrics       Frechet distance, KID, neighbours, structural similarity
    score         all measures of a set, with what is needed to read them
    novelty       are generated images new?
    samples       a folder of generated images
    classifiers   five networks that recognise defects
    stage         what surrounds the loop: opening data and model, writing results
    report        pictures: grids of images, loss curves
    run           run folders and what all command lines share
    files         safe writing, hashes, errors in one sentence
    textures      procedural captioned textures
    pretraining   pools of textures and the loop that weights/nano came from
    official      writing a model in the official layout
    prepare       photographs to a data set
    steel         a procedural steel data set, for the demo and the tests
    download      fetch the official weights
"""
