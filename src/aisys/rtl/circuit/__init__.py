"""The circuit, one component per idea; top.py joins them."""
