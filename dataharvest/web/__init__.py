"""The status page and its JSON API: reads through `StatusReader`, uploads through `ObjectStore`, changes nothing else."""
