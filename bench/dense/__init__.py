"""From boxes to encoded masks of a large picture: by this project, and by libraries that make whole bitmaps."""
