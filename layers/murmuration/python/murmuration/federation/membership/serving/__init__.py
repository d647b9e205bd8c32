"""What other servers ask for their users: to join rooms that this server is in, to leave, knock, invite."""
