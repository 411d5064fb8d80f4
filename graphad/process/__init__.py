"""What holds in a process: its forks, interrupts, garbage, and memory that is held for others."""
