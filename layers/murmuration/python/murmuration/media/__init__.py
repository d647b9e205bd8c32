"""Media: uploaded to the bucket, served as what they are, with thumbnails made on demand.

https://spec.matrix.org/v1.19/client-server-api/#content-repository
"""
