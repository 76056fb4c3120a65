"""The commands of launch.py, by what they are for. Parses, wires, prints; knowledge lives in the rooms."""
