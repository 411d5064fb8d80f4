"""Programs in memory: frames, images, the executor, the team of threads, and the gate."""
