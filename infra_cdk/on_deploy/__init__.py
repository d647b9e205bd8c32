"""Functions that CloudFormation calls while it deploys; each is deployed as its one file."""
