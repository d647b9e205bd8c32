"""What is stored of other servers: where they are, how they answered, their signing keys.

What is stored of rooms that they share with this server isn't here.
"""
