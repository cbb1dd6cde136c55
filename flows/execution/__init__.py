"""How work runs: executors, leases, workers, training processes, retries."""
