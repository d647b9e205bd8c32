"""Finds which storage operations each function can reach, only from the source: nothing is imported or run.

`python -m infra_cdk.reach` compares that with `infra_shared.grants` and names the file to edit. A test fails
for a missing grant, and for one that isn't needed.
"""
