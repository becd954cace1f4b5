"""The commands, a module each: gather what is known, ask the decisions, print.

A module has `add_arguments(parser)` and `run(arguments) -> exit status`, and a line in `cli.py`.
"""
