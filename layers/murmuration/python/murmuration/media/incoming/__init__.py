"""Large uploads by PUT, which CloudFront stores: the IDs that allow them, and how they are completed.

Uploads that functions and API Gateway store are in `repository` and `placing`.
"""
