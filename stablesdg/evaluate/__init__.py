"""How good are generated images? Distances between sets of images, copies found, and the search for s and w.

    inception   the network whose features FID compares
    features    a small network for machines without Inception's weights
    imagenet    a network that has seen photographs, where its packages are installed
    extract     image files -> features, kept on disk
    reference   which real images generated ones are compared with
    codec       traces of JPEG, which a feature network sees
    frechet     the Frechet distance of two sets of features, the paper's eq. (6)
    kernel      the kernel distance, KID
    neighbours  precision, recall, density and coverage
    score       all of them together, with what is needed to read them
    novelty     is an image new, or a copy of a training image?
    filter      which generated images are neither copies nor without their defect?
    tuning      distance and novelty over a grid of s and w, the paper's Table IV
"""
