"""The methods that the paper compares with, and the controls that it leaves out: one interface, one file per method."""
