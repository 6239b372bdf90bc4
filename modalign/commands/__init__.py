"""The commands of the `modalign` program, one module each."""
