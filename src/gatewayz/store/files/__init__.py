"""What is kept in files of the data directory."""
