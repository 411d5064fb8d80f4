"""Side-by-side timings: `python -m bench`. See README.md in this folder."""
