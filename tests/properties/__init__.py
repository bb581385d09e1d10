"""Any sequence of uploads, corrections, manifests, duplicates and restarts ends as an oracle computes from the files."""
