"""Any sequence of uploads, corrections, manifests, duplicates, reorderings and restarts ends as an oracle computes from the files."""
