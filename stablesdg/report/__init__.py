"""Pictures for a person to look at, drawn with Pillow alone, and report.html, which gathers all that was found.

    pictures   grids of images and curves of losses
    pairs      generated images beside their sources, and beside their nearest training images
    tuning     the heat map of tune.py, and the first image of each cell
    confusion  which classes classify.py takes for which
    overlaps   images that show one surface
    plan       what python -m stablesdg.plan says and draws

    html       report.html: the page and the order of its sections. python -m stablesdg.report writes it
    read       what lies in a run folder
    verdict    use, do not use, or cannot be told
    sections   what each section says; markup, charts and thumbnails are what it is made of
"""
