"""Benchmarks: one command per figure, each against its peer in the same run, each checked before it prints."""
