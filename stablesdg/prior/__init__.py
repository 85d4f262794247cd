"""How weights/nano is made: a prior of Stable Diffusion's architecture, small enough for a laptop's CPU.

    textures         drawn surfaces, whose captions are known
    photographs      real surfaces: packed into one file, cropped
    descriptions     captions of photographs, from what can be measured
    pool             both kinds, drawn once and kept
    loop             the one training loop
    autoencoder      first stage
    feature_network  second stage, for FD-nano, novelty and the teacher
    text_encoder     third stage, on a tokenizer of its own
    denoiser         last stage
    pretraining      all stages, and the folder that they become
    model_card       the folder's README.md
    parts            a half-trained stage in small files, for another machine
    fetch            photographs from their public origins

`python -m stablesdg.prior --photographs FOLDER` runs it.
"""
