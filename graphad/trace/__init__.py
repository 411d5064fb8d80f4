"""User function to Graph: pytrees, the traced value, and one run of the user's code."""
