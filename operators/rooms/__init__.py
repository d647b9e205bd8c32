"""The actions of `murmuration room`, a module each."""
