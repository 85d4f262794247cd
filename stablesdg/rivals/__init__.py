"""What the paper compares with, by hand: generators that learn one category of images.

    common             what a rival is, the images of a category, the loop that trains a rival
    augmentation       differentiable augmentation, for few images
    dcgan              Radford et al. 2015
    stylegan3          Karras et al. 2021: the generator; stylegan3_filters has its filters
    stylegan2_discriminator, ada   its discriminator, and its adaptive augmentation
    ddpm               diffusion from scratch, Ho et al. 2020 and Song et al. 2021
    textual_inversion  Gal et al. 2022: the paper's first stage alone
    dreambooth         Ruiz et al. 2023: full adaptation with prior preservation

`python -m stablesdg.rivals NAME --data neu/Pa` trains one and makes images with it. Each file says which paper it
follows, and where it leaves it.
"""
