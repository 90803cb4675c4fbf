"""Hubs that share a database: each shows the others' runs too, and hands on what is about them."""
