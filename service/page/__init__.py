"""The page at `/`: HTML, CSS and JavaScript modules as they are served, with an answer that was recorded."""
