"""The commands that are no stage of the paper. `python -m stablesdg.split` runs split.py of this folder, and so on.

    split     which images may be trained on
    prepare   photographs to a data set
    download  the official weights
    steel     the demo's data set

Imports are absolute here: run as stablesdg.split, a module does not know that it lies in this folder.
"""
