"""Recognition: do generated images help a classifier, and can one tell?

    classifiers    five networks: built, trained, used and saved
    arms           the arms of the experiment: which images each trains on, and what it must not train on
    significance   accuracies, intervals and p values from right and wrong answers
    per_class      recall of each class, balanced accuracy, macro-F1
    results        what is kept of an arm
    verdicts       how an arm compares with the other arms of its folder

classify.py puts these together: it trains and tests one arm.
"""
