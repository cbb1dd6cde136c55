"""Everything that talks to Label Studio."""
