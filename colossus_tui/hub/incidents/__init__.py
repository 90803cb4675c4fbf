"""Incidents: conditions of the site, grouped by cause, each with a life, a log and a next step."""
