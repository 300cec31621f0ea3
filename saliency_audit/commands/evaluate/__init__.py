"""``evaluate``: does the map tell the truth?"""
