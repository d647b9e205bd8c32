"""Changes of membership: join, invite, knock, leave, kick, ban, unban, forget."""
