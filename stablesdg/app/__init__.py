"""Glue: command lines, devices, run folders. A reader of the method may skip this room.

    command_line     help, types of arguments, exit codes
    devices          device and number format, chosen once
    runs             run folders and run.json
    model            the weights that a command asks for
    training         what surrounds the training loop
    sampling         what surrounds generation
    tuning           what surrounds the grid of tune.py
    classification   what surrounds classify.py
    commands/        python -m stablesdg.split and its like
"""
