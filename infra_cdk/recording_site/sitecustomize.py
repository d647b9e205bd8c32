"""Python runs this at its start in the processes that a recorded test starts: they record too."""

from infra_cdk.recording import record_this_process

record_this_process()
