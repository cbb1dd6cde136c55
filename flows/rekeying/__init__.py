"""A new pseudonym key: every old pseudonym is replaced in the catalog, the store, Label Studio and local files."""
