"""Sources to machine code: words, instructions, objects, the cache, and PTX."""
