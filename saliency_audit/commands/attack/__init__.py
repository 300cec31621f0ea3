"""``attack``: can someone who owns the image move the map?"""
