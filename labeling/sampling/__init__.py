"""Which frames a task shows, when a person is asked again, and who is asked next."""
