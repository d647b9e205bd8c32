"""The AWS services that functions reach through botocore, answered in this process.

`patch` takes a call before it is signed and sent; each service is a table of operations, from the call's
parameters to its parsed answer. DynamoDB alone is another process, reached over HTTP. An operation that no
table has goes to moto; no call ever leaves the machine.
"""
