"""Graph to Program: expand products into loops, fuse into regions, plan memory."""
