"""The seed's table on the data at hand: each part of the method taken away in turn, with controls."""
