"""What a user may ask for, read from a file, the environment and the command line, and checked."""
