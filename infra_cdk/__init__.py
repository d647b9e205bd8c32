"""The deployment: one CloudFormation stack, built from the functions that discovery finds.

`settings` is what an operator decides, `modules` and `grants` what each module of functions needs; every
other file makes one kind of resource. What costs money while nobody uses the server is not made at all.
"""
