"""Functions that CloudFormation calls while it deploys. Each is deployed as a single file."""
