"""Fault tests: killed, cut off, starved and lied to under load, while an oracle that knows only the files looks on."""
