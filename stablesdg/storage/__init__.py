"""Files on disk: read and written so that nothing is ever half there.

    errors      UserError: what is wrong and what to do, in one sentence
    files       JSON, CSV, hashes; a file or a folder appears whole or not at all
    tensors     safetensors files, and state dicts of PyTorch; other pickles are refused
    settings    were two results made with the same settings?
    checkpoint  what a loop saves so that it can go on later
    lock        one run at a time in a folder
    runs        the folder that holds all runs
    torchrun    which of many processes this one is
"""
