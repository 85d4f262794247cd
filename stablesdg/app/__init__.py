"""Glue: command lines, devices, run folders. A reader of the method may skip this room.

    command_line     help, types of arguments, exit codes
    console          the command `stablesdg`
    environment      the virtual environment of `make demo` and `make test`
    devices          device and number format, chosen once
    processes        one command in many processes
    paths            where a run's files lie
    runs             run folders and run.json
    model            the weights that a command asks for
    training, preview   what surrounds the training loop, and the picture at its end
    sampling         what surrounds generation
    compat           the timesteps of diffusers
    tuning           what surrounds the grid of tune.py
    distance         what surrounds fid.py
    classification   what surrounds classify.py
    classify_options, classify_settings, classify_images   its options and their checks, settings, images
    experiment, one_seed   one arm with its images, and one training of it
    prediction, training_window                            a trained classifier is used, with the gray levels it knows
    expand_settings, stages, expansion, journal, expanded   expand.py: its settings and stages, what runs them,
                     expand.json, the expanded data set
    composing, sources, makers   what surrounds sample.py --compose and its other flags
    rivals, rival_runs           what surrounds python -m stablesdg.rivals
    split_check      what surrounds python -m stablesdg.split --check
    interrupt        Ctrl-C and SIGTERM
    commands/        python -m stablesdg.split and its like
"""
