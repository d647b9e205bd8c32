"""The sub-commands of `murmuration`.

Each module here is one, named as the module is: `add_arguments(parser)` declares its arguments, `run(args)`
does it and returns the exit status, the module's docstring is its help.
"""
