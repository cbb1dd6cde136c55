"""The append-only label ledger: its rows, their hash chain, and the labels that the consensus derives from them."""
