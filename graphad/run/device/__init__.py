"""Programs on a GPU, or in what stands for it."""
