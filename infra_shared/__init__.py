"""Code that the deployment and the local cloud share: grants, mapping templates, the viewer function.

Nothing here imports either of them.
"""
