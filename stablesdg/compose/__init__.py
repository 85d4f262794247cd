"""Composition: a real defect on another real ground, joined by the prior. Labels are true by construction:
pairs.Composer.draw moves image and mask by one Placement, and labels.py boxes that mask.

    masks    where is the defect? found in the image itself
    given    where is the defect? masks and boxes that a person made
    pairs    which ground a defect gets, and where it lies there
    paste    the ground brought to the level of the defect, and the two laid over each other
    weld     the prior redraws the seam, the ground or the defect
    seam     can the seam be measured?
    labels   boxes of the pasted defects, as VOC, YOLO and COCO
"""
