"""The sub-commands of `murmuration`.

Each module here is one sub-command, with the same name: `add_arguments(parser)` declares its arguments,
`run(args)` runs it and returns the exit status, and the module's docstring is its help text.
"""
