"""Programs of other people that load a file, each in an environment of its own."""
