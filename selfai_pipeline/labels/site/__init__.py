"""The annotation site: invited people score aligned faces 0 to 9, one at a time."""
