"""Ratios against peers and floors, each script measured in one run."""
