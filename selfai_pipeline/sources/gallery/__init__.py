"""The sample gallery: rendered portraits with simulated ratings, served from a loopback web server."""
