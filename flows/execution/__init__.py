"""Execution of work: executors, leases, workers for clips and subjects, training processes, retries."""
