"""Recognition: do generated images help a classifier, and can one tell?

    classifiers    five networks: built and used
    saved          a trained classifier as a file, and as ONNX
    training       how they are trained
    augmentation   what is done to a batch of images
    batches        which images a step sees, how often
    targets        hard and soft labels, and their loss
    probe          a linear classifier on frozen features
    frozen         the classifier that is made of it
    teacher        a probe's labels for a network's images, and the filter of generated images
    imitation      a network that learns to give frozen features
    baseline       the plan: what is reached without generated images. It stands on backbones (frozen networks),
                   discriminant, learning_curve, power (the smallest gain), costs and advice
    arms           the arms of the experiment: which images each trains on
    generated_sets   folders of generated images, and what an arm must not train on
    significance   accuracies, intervals and p values from right and wrong answers
    per_class      recall of each class, balanced accuracy, macro-F1
    results        what is kept of an arm
    hard           weights towards what a classifier gets wrong
    verdicts       how an arm compares with the other arms of its folder

classify.py puts these together: it trains and tests one arm.
"""
