"""The queues and deployments of the tests of /sync."""

from tests.sync.conftest import held, parked, sqs

__all__ = ["held", "parked", "sqs"]
