"""The client APIs of Matrix's founding drafts (2014 and 2015). No module of today's APIs imports them."""
