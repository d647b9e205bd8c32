"""The AWS services that functions call, simulated in this process.

`patch` intercepts a call before it is signed and sent. Each service is a table of operations, which turn the
call's parameters into its parsed answer. Only DynamoDB is another process, reached over HTTP. An operation
that no table has goes to moto; no call ever leaves the machine.
"""
