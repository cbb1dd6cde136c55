"""Great Expectations: what a table must satisfy before it may go on."""
