"""Recognition: do generated images help a classifier, and can one tell?

    classifiers    five networks: built, trained, used and saved
    arms           the arms of the experiment: which images each trains on, and what it must not train on
    significance   accuracies, intervals and p values from right and wrong answers
    results        what is kept of an arm, and how two arms are compared

classify.py puts these together: it trains and tests one arm.
"""
