"""Pictures for a person to look at, drawn with Pillow alone.

    pictures   grids of images and curves of losses
    pairs      generated images beside their sources, and beside their nearest training images
    tuning     the heat map of tune.py, and the first image of each cell
    confusion  which classes classify.py takes for which
"""
