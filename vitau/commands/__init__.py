"""Commands of ``vitau`` that have a module of their own."""
