"""PostgreSQL behind the ports: the ledger, and all that is true."""
