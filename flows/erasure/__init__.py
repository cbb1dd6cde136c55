"""Erasure of people: what readers leave out, what is deleted or redacted where, the scan for traces, and the receipt."""
