"""CloudFront and API Gateway (REST and WebSocket): HTTP in, genuine proxy events to the functions, HTTP
out."""
