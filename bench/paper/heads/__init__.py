"""Mask heads, trained side by side over one frozen detector and compared (paper Tables 1, 3 and 4)."""
