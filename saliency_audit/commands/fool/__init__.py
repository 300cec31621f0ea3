"""``fool``: can someone who owns the weights forge the map?"""
