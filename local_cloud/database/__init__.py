"""The local DynamoDB: dynoxide as a child process, its streams and expiry; moto as the last resort."""
