"""What leaves the console as a file: the picture of a screen, and the values behind it."""
