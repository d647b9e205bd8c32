"""CloudFront and API Gateway (REST and WebSocket): turns HTTP requests into genuine proxy events for
functions.
"""
