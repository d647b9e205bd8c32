"""A rehearsal of the deployment: the real CDK deploys the real template into moto, a simulation of AWS.

`python -m infra_cdk.rehearsal` (`make deploy-local`) bootstraps, deploys, sends requests through what was
deployed, deploys a change, compares and destroys. It proves the template and the order of things; that AWS
itself takes every property is for cfn-lint and the first real deployment to say.
"""
