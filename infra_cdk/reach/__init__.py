"""Which storage operations each function can reach, told from the source alone: nothing is imported or run.

`python -m infra_cdk.reach` compares that with `infra_shared.grants` and names the file to edit; a test fails
for what is lacking, and for what is granted in vain.
"""
