"""Data sets on disk: which images there are, which may be trained on, and how they are read. Read in this order:

    folders     which files are images and which folders are classes
    window      which gray levels of 10- and 12-bit images become black and white
    images      images in and out, gray or colour, as tensors and back
    augment     classic augmentation: rotate and mirror
    alike       images brought to one scale
    marks       which pairs may show one surface at all
    arithmetic  what the search for overlaps computes most
    overlap     which images show the same piece of surface
    copies      which images are one picture
    surfaces    overlaps, copies and tiles of one photograph link images to groups
    links       the same for a whole data set, found once and kept
    parts       groups to training, validation and test part
    deal        new images to their parts
    split       the manifest that fixes the parts
    descriptor  an image in numbers, without a network; the 64-bit hash
    inventory   sizes, bits and codecs of all files
    audit       all that is known before anything is trained
    export      the parts as plain folders
    leaks       how far a split leaks
    generated   a folder of generated images and its manifest
    prepare     production photographs to square tiles
    steel       a procedural data set for the demo and the tests
"""
