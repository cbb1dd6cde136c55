"""A new pseudonym key: the chain of keys, the names under the new one, and the rows that get them."""
