"""One module a screen; each only places widgets and feeds them from views."""
