"""Media: uploads to the bucket, downloads with their original type, and thumbnails made when they are first
requested.

https://spec.matrix.org/v1.19/client-server-api/#content-repository
"""
