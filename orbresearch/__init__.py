"""orbresearch."""
