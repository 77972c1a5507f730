"""Formats whose answers are pictures: PNG files, written band by band."""
