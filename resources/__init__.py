"""What assets run on; one dict of resources per environment."""
