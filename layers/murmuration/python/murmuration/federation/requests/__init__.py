"""Requests to other homeservers: signed, bounded, with a record of which servers don't answer.

`client` is what the rest of the package asks through. What is asked, and what an answer means, isn't here.
"""
