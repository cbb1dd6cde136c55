"""The measures of the people in the store: what the ingest computed from their clips, put together per person."""
