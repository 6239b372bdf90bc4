"""A plugin of modalign that prefers vowels."""
