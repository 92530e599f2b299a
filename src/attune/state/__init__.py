"""Remember across processes: what other processes of this machine measured, and where readers stopped."""
