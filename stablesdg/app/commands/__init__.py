"""Commands that are not a stage of the paper. `python -m stablesdg.split` runs split.py of this folder, and so on.

    split     which images may be trained on
    plan      are generated images needed?
    prepare   photographs to a data set
    download  the official weights
    steel     the demo's data set
    cells     real solar cells, another data set for the demo
    demo      all stages on a small data set
    test      all tests
    check     style and types of the code

Imports are absolute here, because a module that runs as stablesdg.split does not know this folder.
"""
