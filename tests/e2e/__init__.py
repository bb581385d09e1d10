"""Tests on the embedded stack, from outside: files in, messages out, workers as processes."""
