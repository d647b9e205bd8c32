"""Media: uploads to the bucket, downloads with their original type, and thumbnails made on demand.

https://spec.matrix.org/v1.19/client-server-api/#content-repository
"""
