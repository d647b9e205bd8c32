"""The founding drafts' client APIs. Nothing of today's imports them."""
