"""Takes pictures, addresses, hosts, persons and annotators out of everything that a home holds."""
