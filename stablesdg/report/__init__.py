"""Pictures for a person to look at, drawn with Pillow alone, and report.html, which gathers all that was found.

    pictures   grids of images and curves of losses
    pairs      generated images beside their sources, and beside their nearest training images
    tuning     the heat map of tune.py, and the first image of each cell
    confusion  which classes classify.py takes for which
    overlaps   images that show one surface
    plan       what python -m stablesdg.plan says and draws
    lettering  type and axes for all of them

    html       report.html: the page and the order of its sections. python -m stablesdg.report writes it
    read       what lies in a run folder
    survey     what the folder of real images holds
    verdict    use, do not use, or cannot be told
    to_use     which of the trained classifiers to use
    sections   what each section says, with sections_generated, sections_results and sections_origin; markup, style,
               charts and thumbnails are what it is made of
    commands   command lines to copy
"""
