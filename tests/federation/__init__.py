"""Tests of the server-server API against servers on the loopback, over real TLS."""
