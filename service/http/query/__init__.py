"""What a request asks for: its parameters, checked and parsed. HTTP and the command line share it."""
