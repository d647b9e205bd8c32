"""The founding drafts' client API, version 1: views of the same accounts, rooms and streams."""
