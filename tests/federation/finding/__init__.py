"""Tests of finding rooms that other servers have."""
