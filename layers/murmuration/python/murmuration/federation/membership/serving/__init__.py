"""What other servers may do for their users: join rooms that this server is in, leave, knock and invite."""
