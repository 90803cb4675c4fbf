"""The console in a browser: a page on loopback, a console process for each that opens it."""
