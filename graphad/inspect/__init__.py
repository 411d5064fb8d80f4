"""Looking at and around compiled functions: the demo and the doctor."""
