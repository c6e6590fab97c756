"""What a person touches: the command line, later the studio."""
