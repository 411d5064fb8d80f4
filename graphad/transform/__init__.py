"""What users write: derivatives, batches, control flow, parts, implicit values."""
