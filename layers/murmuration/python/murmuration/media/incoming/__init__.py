"""Large uploads by PUT, which CloudFront stores: the IDs that allow them, and what becomes of them.

What functions and API Gateway store is in `repository` and `placing`.
"""
