"""Files of weights, read strictly and written in the official layouts.

    read      an official folder or single file -> tensors, by their names in the file
    configs   config.json -> the arguments of our models
    keys      other spellings of the official names
    strict    tensors into a model, every one in its place
    adapters  LoRA and embedding files, as this project and other tools write them
    export    a model -> the official folder layout
    download  fetch the official weights
"""
