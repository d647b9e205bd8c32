"""The deployment: one CloudFormation stack, built from the functions that discovery finds.

`settings` has the operator's choices, `modules` and `grants` the needs of each module of functions; every
other file makes one kind of resource. No resource costs money while the server is idle.
"""
