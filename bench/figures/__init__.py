"""All figures of README and docs by one command: what measures them, and the texts that are made of them."""
