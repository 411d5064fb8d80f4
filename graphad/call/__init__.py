"""From arguments to results: what a call of a Function does; `path.py` tells it in order."""
