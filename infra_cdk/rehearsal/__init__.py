"""A rehearsal of the deployment: the real CDK deploys the real template into moto, a simulation of AWS.

`python -m infra_cdk.rehearsal` (`make deploy-local`) bootstraps, deploys, sends requests through the deployed
routes, deploys a change, compares and destroys. It proves that the template and its order work. Only cfn-lint
and the first real deployment can show that AWS itself accepts every property.
"""
