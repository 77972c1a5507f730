"""What is fast, against what: ratios of ours to the reference's way, in one run on one machine."""
