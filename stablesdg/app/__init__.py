"""Glue: command lines, devices, run folders. A reader of the method may skip this room.

    command_line     help, types of arguments, exit codes
    devices          device and number format, chosen once
    runs             run folders and run.json
    model            the weights that a command asks for
    training_stage   what surrounds the training loop
    commands/        python -m stablesdg.split and its like
"""
