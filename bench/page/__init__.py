"""What the page needs and shows: its recorded example, pictures of its states, and how soon it is painted."""
