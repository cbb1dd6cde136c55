"""The decision about a challenger: policies, held-out people, checks, and the verdict."""
